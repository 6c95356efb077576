"""Reward models (report, section 3.2.1): trl's `RewardTrainer` on the Hugging Face form of a checkpoint.

    recipe, plan   settings, and what a run would need
    preferences    rows in published formats become a prompt with two answers
    pairs          preferences are split, cut, balanced and rendered to ids; pair_files keeps them in the run
    stages, order  which pairs each step trains on: a function of the seed
    model          the classifier head, and scoring
    padding        the padding id, which never ends an answer
    trainer        one stage on trl: schedule, logging, checkpoints
    report         accuracy, margins and calibration on held-out pairs
    job, run       the command, and its run

The attention mask says where a reward is read, never an id. Checkpoints appear whole, by one rename.
"""
