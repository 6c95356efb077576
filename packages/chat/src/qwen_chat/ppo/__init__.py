"""Proximal policy optimisation of a chat model.

What the report gives (section 7): four models (policy, value, reference, reward), 50 steps in which only the value
model learns, two responses per query drawn with top-p 0.9, KL coefficient 0.04, rewards normalised by a running mean,
learning rates of 1e-6 (policy) and 5e-6 (value), value loss clipped at 0.15, and a pretraining gradient against the
alignment tax. It gives neither that gradient's coefficient nor the policy's clip, the discount, λ or the KL estimator:
those are our choices, each with its reason in the recipe (`qwen_chat.ppo_recipe`).

    trainer        one step, from prompts to the optimizer: read this first
    rollout        prompts become responses
    models         logits and values of response tokens; the reference

The mathematics is pure functions on tensors, in the order in which a step needs them:

    batch          responses of different lengths as one batch, and as rows that a model can read
    probabilities  log-probabilities and entropy from logits, without a softmax in memory
    kl             distance from the reference model, and the coefficient that it is charged with
    rewards        one score per response becomes one reward per token
    advantages     generalised advantage estimation, whitening
    losses         what the policy and the value model descend
    statistics     what to watch
    moments        mean and variance over masks, ranks and steps

Two rules hold throughout. **Masks alone say what is real**: [B, R] tensors are read where the mask is true, and what
stands elsewhere, even NaN, reaches no result and no gradient; so neither the padding's side nor its width matters.
**Parts add up**: losses and statistics divide by the token count of the global batch, not by that of the part at hand,
so that their sum over micro-batches and ranks is the mean over all tokens.
"""
