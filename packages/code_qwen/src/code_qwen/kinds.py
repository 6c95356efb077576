"""What `publish` says of this package's runs."""

from qwen_shared.publish.kind import Kind

PRETRAIN = Kind(
    "code-pretrain",
    "A base language model that went on with code: it continues programs and text.",
    "base",
)
SFT = Kind(
    "code-sft",
    "A language model that writes functions as they are described.",
    "chat",
    example="Implement scale_value(x). It should return 9 times x, plus 15.",
    counts="A problem counts if the program passes all its tests, run in a sandbox.",
)
KINDS = (PRETRAIN, SFT)
