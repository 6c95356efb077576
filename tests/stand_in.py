"""A stand-in for a model that is evaluated: it says known texts."""

from qwen_shared.evaluation.find import find_tasks
from qwen_shared.evaluation.run import evaluate
from qwen_shared.evaluation.task import Conditions
from qwen_shared.generation.sampling import Completion
from qwen_shared.tokenizer import load_tokenizer

TOKENIZER = load_tokenizer("default")


class Says:
    """Answers with these texts in order; those whose places are in `cut` do not stop. `asked`: each call's prompts and
    sampling."""

    def __init__(self, *texts, cut=(), weights="model"):
        self.tokenizer, self.weights, self.asked = TOKENIZER, weights, []
        self._texts, self._cut = texts, cut

    def generate(self, prompts, sampling, progress):
        said = sum(len(asked) for asked, _ in self.asked)
        self.asked.append((prompts, sampling))
        if progress:
            progress(len(prompts), len(prompts))
        return [self._completion(i) for i in range(said, said + len(prompts))]

    def _completion(self, i):
        return Completion(TOKENIZER.encode(self._texts[i]), stopped=i not in self._cut)


class Always(Says):
    """Gives the same completion to every prompt."""

    def __init__(self, completion):
        super().__init__()
        self._same = completion

    def _completion(self, i):
        return self._same


def ask(model, names, settings, style="chat", system=None, output=None, languages=Conditions.languages):
    """Results by task."""
    conditions = Conditions(settings, style, system, languages)
    return evaluate(find_tasks(names, settings), model, conditions, output)
