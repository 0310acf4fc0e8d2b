"""The digits for both scripts: images to train on and to validate with; the test part stays out."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))

from digits_parts import load_training, load_validation

X, y = load_training()
X_validation, y_validation = load_validation()
