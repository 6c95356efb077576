"""What `publish` says of this package's runs."""

from qwen_chat.parity import policy_parity, reward_parity
from qwen_chat.recipe import DIALOGUES
from qwen_chat.reward.recipe import PAIRS
from qwen_shared.publish.kind import Kind

_GREETING = "Good evening, it is me, Ed."
_CHECKED = "A dialogue counts if the answer passes the dialogue's check."

SFT = Kind("chat-sft", "A language model that converses.", "chat", example=_GREETING, counts=_CHECKED)
REWARD = Kind(
    "chat-reward",
    "A reward model: it gives a conversation one number, higher for a better last answer.",
    "reward",
    counts="A pair counts if the preferred answer gets the higher number; a tie is half right.",
    parity=reward_parity,
    generated_sources=(PAIRS,),
)
PPO = Kind(
    "chat-ppo",
    "A language model that converses, taught by PPO what a reward model or reward functions prefer.",
    "chat",
    example=_GREETING,
    counts=_CHECKED,
    method="PPO",
    parity=policy_parity,
    generated_sources=(DIALOGUES,),
)
KINDS = (SFT, REWARD, PPO)
