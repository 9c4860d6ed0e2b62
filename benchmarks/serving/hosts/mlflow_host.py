"""An MLflow model folder from the model: ``python mlflow_host.py MODEL FOLDER``, in MLflow's environment."""

from __future__ import annotations

import sys

import joblib
import mlflow.sklearn

if __name__ == "__main__":
    mlflow.sklearn.save_model(
        joblib.load(sys.argv[1]),
        sys.argv[2],
        pyfunc_predict_fn="predict_proba",
        serialization_format="cloudpickle",  # by default it keeps no trees
    )
