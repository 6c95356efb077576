"""What `publish` says of this package's runs."""

from qwen_shared.publish.kind import Kind

PRETRAIN = Kind("base-pretrain", "A base language model: it continues text.", "base")
KINDS = (PRETRAIN,)
