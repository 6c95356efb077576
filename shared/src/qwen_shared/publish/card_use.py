"""How a published model is used, as lines that run as they stand. No torch."""

from __future__ import annotations

import json
from typing import Any

from qwen_shared.publish.markdown import fenced

_GREETING = "Good evening, it is me, Ed."
_ASKED = {
    "chat-sft": _GREETING,
    "chat-ppo": _GREETING,
    "code-sft": "Implement scale_value(x). It should return 9 times x, plus 15.",
    "math-sft": "Mia found 20 pears and Rosa found 11. How many fewer did Rosa find?",
}

_BASE = """from transformers import AutoModelForCausalLM, AutoTokenizer

path = "."  # this directory, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
inputs = tokenizer("Return the number of", return_tensors="pt", return_token_type_ids=False)
print(tokenizer.decode(model.generate(**inputs, max_new_tokens=32)[0]))
"""
_CHAT = """from transformers import AutoModelForCausalLM, AutoTokenizer

path = "."  # this directory, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
messages = MESSAGES
inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
answer = model.generate(**inputs)[0, inputs["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
"""
_REWARD = """from transformers import AutoModelForSequenceClassification, AutoTokenizer

path = "."  # this directory, or its name on the hub
tokenizer = AutoTokenizer.from_pretrained(path)
model = AutoModelForSequenceClassification.from_pretrained(path, dtype="auto")
messages = MESSAGES
text = tokenizer.apply_chat_template(messages, tokenize=False).rstrip()  # the reward is read at the end token
inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False, return_token_type_ids=False)
print(model(**inputs).logits.item())
"""


def use_section(kind: str, recipe: dict[str, Any]) -> str:
    if kind.endswith("-pretrain"):
        return fenced(_BASE, "python")
    system = recipe["data"].get("system")
    turns = [{"role": "system", "content": system}] if system is not None else []
    turns.append({"role": "user", "content": _ASKED.get(kind, "Hello!")})
    if kind == "chat-reward":
        turns.append({"role": "assistant", "content": "Hello! What can I do for you?"})
    messages = "".join(f"    {json.dumps(turn, ensure_ascii=False)},\n" for turn in turns)
    code = (_REWARD if kind == "chat-reward" else _CHAT).replace("MESSAGES", f"[\n{messages}]")
    taught = "The system turn is the one it was trained with.\n\n" if system is not None else ""
    return taught + fenced(code, "python")
