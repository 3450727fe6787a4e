"""Runs written to the logs of other programs: TensorBoard, MLflow."""
