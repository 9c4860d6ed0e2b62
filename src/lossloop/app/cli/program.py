"""The list of commands, and what every one of them has in common."""

from __future__ import annotations

import os
import sys

import msgspec
from cyclopts import App
from rich.text import Text

from lossloop import __version__
from lossloop.app.cli.terminal import Screen
from lossloop.core.errors import InputError, LossloopError

_COMMANDS = {
    "init": ("lossloop.app.cli.places:init", "Make a state directory with a token of its own."),
    "up": ("lossloop.app.cli.places:up", "Serve, record, judge and act until stopped."),
    "demo": ("lossloop.app.cli.demo:demo", "Replay a year of flights with no human command."),
    "status": ("lossloop.app.cli.views:status", "Show how one model is doing, or all."),
    "slices": ("lossloop.app.cli.slices:slices", "Show how each slice of a model is doing."),
    "decisions": ("lossloop.app.cli.views:decisions", "Show every decision on a model."),
    "chart": ("lossloop.app.cli.chart:chart", "Draw what a model's watches saw."),
    "why": ("lossloop.app.cli.why:why", "Say why the loss moved."),
    "policy": ("lossloop.app.cli.models:policy", "Check a policy file and put it in force."),
    "register": ("lossloop.app.cli.models:register", "Make a version from a manifest and its artifact."),
    "convert": ("lossloop.app.cli.convert:convert", "Make ONNX of a model, if it answers the same."),
    "rollout": ("lossloop.app.cli.orders:rollout", "Put a version on its way into the traffic."),
    "experiment": ("lossloop.app.cli.orders:experiment", "Compare several versions with the champion."),
    "rollback": ("lossloop.app.cli.orders:rollback", "Give the traffic back."),
    "promote": ("lossloop.app.cli.orders:promote", "Give a version all the traffic at once."),
    "freeze": ("lossloop.app.cli.orders:freeze", "Stop all actions at once."),
    "predict": ("lossloop.app.cli.predicting:predict", "Answer the rows of files."),
    "import": ("lossloop.app.cli.importing:import_history", "Bring in predictions or outcomes of the past."),
    "erase": ("lossloop.app.cli.erase:erase", "Remove a person's rows for good; counts stay."),
    "backtest": ("lossloop.app.cli.backtest:backtest", "Try policies on the past."),
    "plan": ("lossloop.app.cli.plan:plan", "Say how long a policy's verdicts will take."),
    "thresholds": ("lossloop.app.cli.thresholds:thresholds", "Learn from which scores on what is done."),
    "check policy": ("lossloop.app.cli.check:policy", "Hold a policy against the past."),
    "check version": ("lossloop.app.cli.version:version", "Check a version before it takes traffic."),
    "check skew": ("lossloop.app.cli.skew:skew", "Recompute sampled predictions, and compare."),
    "check retraining": ("lossloop.app.cli.retraining:retraining", "Replay the past: how often to retrain."),
    "ledger seal": ("lossloop.app.cli.ledger:seal", "Turn finished segments into Parquet."),
    "ledger verify": ("lossloop.app.cli.ledger:verify", "Check every checksum of the log."),
    "ledger rebuild": ("lossloop.app.cli.ledger:rebuild", "Make all derived state anew from the facts."),
    "ledger migrate": ("lossloop.app.cli.ledger:migrate", "Bring an older release's directory up to date."),
    "ledger prune": ("lossloop.app.cli.ledger:prune", "Remove a model's oldest facts."),
    "ledger export": ("lossloop.app.cli.ledger:export", "Write the whole ledger into a file."),
    "ledger import": ("lossloop.app.cli.ledger:bring_in", "Make a state directory of an export."),
    "bench judge": ("lossloop.app.cli.bench:judge", "Measure the judges on this machine, and beside others."),
    "bench ledger": ("lossloop.app.cli.bench:ledger", "Measure the ledger on this machine."),
    "bench serve": ("lossloop.app.cli.bench:serve", "Measure serving on this machine."),
    "labels delay": ("lossloop.app.cli.labels:delay", "Show how late labels come, and when to judge."),
    "metrics": ("lossloop.app.cli.metrics:metrics", "Show accuracy, F1, AUC and the like, by slice."),
    "labels wanted": ("lossloop.app.cli.labels:wanted", "List predictions that wait for an audit."),
    "sign": ("lossloop.app.cli.signing:sign", "Vouch for an artifact that brings code."),
    "keys create": ("lossloop.app.cli.signing:create", "Make a key to sign with."),
    "keys trust": ("lossloop.app.cli.signing:trust", "Trust a key."),
    "keys list": ("lossloop.app.cli.signing:list_keys", "Show which keys are trusted."),
    "keys revoke": ("lossloop.app.cli.signing:revoke", "Trust a key no longer."),
    "token create": ("lossloop.app.cli.token:create", "Make a token with a role."),
    "token list": ("lossloop.app.cli.token:list_tokens", "Show who has a token."),
    "token revoke": ("lossloop.app.cli.token:revoke", "Let a token be good no longer."),
    "loss switch": ("lossloop.app.cli.loss:switch", "Let a loss that runs beside judge from now on."),
    "loss recompute": ("lossloop.app.cli.loss:recompute", "Compute a loss over history."),
}
_FAMILIES = {
    "check": "What is held against the past before it is put in force.",
    "bench": "What is promised, measured here.",
    "labels": "When labels come, and what is missing.",
    "ledger": "The record of facts.",
    "loss": "Losses over history, and which of them judges.",
    "keys": "Who may vouch for versions that bring code.",
    "token": "Who may do what over the network.",
}
"""What the first words of commands of two words have in common."""

app = App(
    name="lossloop",
    help="Lossloop closes the loop from loss to action for machine-learning models in production.",
    version=__version__,
)
for _name, _help in _FAMILIES.items():
    app.command(App(name=_name, help=_help))
for _name, (_path, _help) in _COMMANDS.items():
    *_family, _own = _name.split()
    (app[_family[0]] if _family else app).command(_path, name=_own, help=_help)


def main() -> None:
    """Run the command line; it ends with 0, or with 1 and an error that names the fix."""
    arguments = sys.argv[1:]
    try:
        try:
            app(arguments)
        finally:
            sys.stdout.flush()
    except LossloopError as error:
        _explain(error, as_json="--json" in arguments)
        sys.exit(1)
    except BrokenPipeError:  # who read the answer has gone, as `head` does; at exit Python flushes once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _explain(error: LossloopError, *, as_json: bool) -> None:
    if as_json:
        field = error.field if isinstance(error, InputError) else None
        problem = {"error": str(error), **({"field": field} if field else {})}
        print(msgspec.json.encode(problem).decode())
        return
    words = Text.assemble(("error:", "bold red"), " ", str(error))
    Screen(stderr=True).print(words, soft_wrap=True, highlight=False)
