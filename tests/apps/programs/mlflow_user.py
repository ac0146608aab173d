"""MLflow's own client: a run with a metric and a large artifact, which comes back."""

import os
import sys
import tempfile

import mlflow

os.chdir(tempfile.mkdtemp())
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("from the client")
with open("big.bin", "wb") as file:
    file.write(b"x" * 12_000_000)
with mlflow.start_run(run_name="first") as run:
    for step in range(5):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_artifact("big.bin")
found = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="big.bin")
assert os.path.getsize(found) == 12_000_000
assert len(mlflow.MlflowClient().get_metric_history(run.info.run_id, "loss")) == 5
print("run:", run.info.experiment_id, run.info.run_id)
