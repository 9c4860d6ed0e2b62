"""LitServe with the model: run by LitServe's own environment, as ``python litserve_host.py MODEL PORT``."""

import sys

import joblib
import litserve


class Api(litserve.LitAPI):
    """Its contract, with nothing added. It reads annotations, so there are none."""

    def setup(self, device):
        """Load the model."""
        self.model = joblib.load(sys.argv[1])

    def decode_request(self, request):
        """The rows."""
        return request["rows"]

    def predict(self, x):
        """The probability of 1."""
        return self.model.predict_proba(x)[:, 1]

    def encode_response(self, output):
        """As a list."""
        return {"y_pred": output.tolist()}


if __name__ == "__main__":
    litserve.LitServer(Api(), accelerator="cpu").run(
        host="127.0.0.1", port=int(sys.argv[2]), log_level="warning", generate_client_file=False
    )
