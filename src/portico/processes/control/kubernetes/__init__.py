"""Services of Kubernetes: the API server is watched for where their pods are."""
