"""Proximal policy optimisation of a chat model.

The report (section 3.2.2) gives: four models (policy, value, reference, reward), 50 steps in which only the value model
learns, two responses per query drawn with top-p 0.9, KL coefficient 0.04, rewards less their running mean, learning
rates of 1e-6 (policy) and 5e-6 (value), value loss clipped at 0.15, and a pretraining gradient against the alignment
tax. It does not give that gradient's coefficient, the policy's clip, the discount, λ or the KL estimator: those are
ours, each with its reason in `recipe`.

    trainer        one step, from prompts to the optimizer: read this first
    rollout        prompts become responses
    models         logits and values of response tokens; the reference
    scorer         a score per response, from a reward model and reward functions
    engine         a model that learns: torch in one process, DeepSpeed in several

`math` holds pure functions on tensors, in the order in which a step needs them:

    batch          responses of different lengths as one batch, and as rows that a model reads
    probabilities  log-probabilities and entropy from logits, without a softmax in memory
    kl             distance from the reference model, and its coefficient
    rewards        one score per response becomes one reward per token
    advantages     generalised advantage estimation, whitening
    losses         of the policy, the value model and pretraining text
    statistics     clip share, approximate KL, explained variance
    moments        mean and variance over masks, ranks and steps

A run is `recipe`, `plan` (what it needs), `job` (the command), `prompts` (its data) and `run`, which evaluates on
`held_out` prompts, gives `alarms` and saves by `checkpoint`.

Two rules hold throughout. **Only masks say what is real**: [B, R] tensors are read where the mask is true; anything
elsewhere, even NaN, reaches no result and no gradient, so the side and width of the padding do not matter.
**Parts add up**: losses and statistics divide by the token count of the global batch, so their sum over micro-batches
and ranks is the mean over all tokens.
"""
