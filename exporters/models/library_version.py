"""The major version of transformers that is installed: 4 and 5 differ in places."""

import transformers

TRANSFORMERS = int(transformers.__version__.partition(".")[0])
