"""Import this before anything that imports TensorFlow: its start-up notes would bury what a user has to read."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
