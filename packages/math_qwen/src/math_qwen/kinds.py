"""What `publish` says of this package's runs."""

from qwen_shared.publish.kind import Kind

SFT = Kind(
    "math-sft",
    "A language model that answers questions of mathematics step by step.",
    "chat",
    example="Mia found 20 pears and Rosa found 11. How many fewer did Rosa find?",
    counts="A problem counts if the answer is proved equal to the known one.",
)
KINDS = (SFT,)
