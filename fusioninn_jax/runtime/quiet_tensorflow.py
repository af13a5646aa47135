"""Import this before anything that imports TensorFlow: its notes would bury what a user has to read."""

import os

if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":  # JAX, where it was imported before, sets 1: warnings are shown
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
