#!/usr/bin/env python3
"""Scores a few thousand answers with the official VQA v2 scorer.

    python3 scripts/vqa_official.py [make] [path/to/vqaEval.py]

model/data/tests/vqa_official.rs compares our scores with its. The scorer is
PythonEvaluationTools/vqaEvaluation/vqaEval.py of github.com/GT-Vision-Lab/VQA at commit a013f00,
cloned into target/vqa-official unless its path is given; it is run, not copied. `make` writes its
verdicts to model/data/tests/vqa/official.jsonl; otherwise they are compared with that file. (The
copies of the scorer in PyPI packages, such as salesforce-lavis 1.0.2, predate the commit "Fixed
processing answers bug" and score differently.)

The file's first line holds the official accuracies; each further line is [answer, [[reference, how
often], …], the accuracy in percent]. Question type and answer type of line i follow from i. Needs
only Python 3.8.
"""

import contextlib
import io
import json
import pathlib
import random
import re
import subprocess
import sys
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent
PINNED = ROOT / "model/data/tests/vqa/official.jsonl"
FETCHED = ROOT / "target/vqa-official"
COMMIT = "a013f0043c1e2cdc995922dfe257f7149aa9af06"
CASES = 4000
ANSWER_TYPES = ["yes/no", "number", "other"]
QUESTION_TYPES = ["is there a", "how many", "what color is the", "what", "none of the above"]

WORDS = ["yes", "no", "red", "blue", "white", "black", "dog", "dogs", "cat", "man's", "t-shirt", "table", "street",
         "st. louis", "coca-cola", "pizza", "tennis", "o'clock", "café", "straße", "left", "right", "its", "im", "shell"]
NUMBERS = ["none", "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
           "0", "1", "2", "3", "10", "12", "100", "1,000", "1,000,000", "3.5", ".5", "5.", "10:30", "10.30", "1/2", "2-3"]
ARTICLES = ["a", "an", "the", "The", "A"]
MARKS = list(";/[]\"{}()=+\\_->`<@,?!:'.&#$%*|~^")
SPACES = [" ", "  ", "\t", "\n", "\u00a0", "\u2003", "\x1f", "\r\n"]


def main() -> None:
    arguments = sys.argv[1:]
    makes = "make" in arguments
    paths = [argument for argument in arguments if argument != "make"]
    lines = verdicts(scorer(pathlib.Path(paths[0]) if paths else fetch()))
    if makes:
        PINNED.parent.mkdir(exist_ok=True)
        PINNED.write_text(lines)
    elif PINNED.read_text() != lines:
        sys.exit(f"{PINNED} differs from the official scorer; `make` rewrites it")
    print(f"{CASES} answers: {lines.splitlines()[0]}")


def fetch() -> pathlib.Path:
    """The scorer's path in a clone of its repository."""
    git = ["git", "-C", str(FETCHED)]
    if not FETCHED.exists():
        clone = ["git", "clone", "--quiet", "https://github.com/GT-Vision-Lab/VQA", str(FETCHED)]
        subprocess.run(clone, check=True)
        subprocess.run([*git, "checkout", "--quiet", COMMIT], check=True)
    return FETCHED / "PythonEvaluationTools/vqaEvaluation/vqaEval.py"


def scorer(path: pathlib.Path):
    """The scorer's class. It is Python 2; only its print statements are not Python 3."""
    source = re.sub(r'print "(.*)"', r'print("\1")', path.read_text())
    names: dict = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(source, str(path), "exec"), names)
    return names["VQAEval"]


class Answers:
    """Stands in for the scorer's annotations and results objects."""

    def __init__(self, qa: dict) -> None:
        self.qa = qa

    def getQuesIds(self) -> list:
        return list(self.qa)


def verdicts(scorer) -> str:
    """The pinned file's text."""
    spoken = scorer(Answers({}), Answers({}), 2)
    rng = random.Random(2017)
    contractions = sorted({*spoken.contractions, *spoken.contractions.values()})
    cases = [case(rng, contractions) for _ in range(CASES)]
    annotated, answered = {}, {}
    for number, (answer, references) in enumerate(cases):
        spread = [text for text, count in references for _ in range(count)]
        rng.shuffle(spread)
        annotated[number] = {
            "question_type": QUESTION_TYPES[number % len(QUESTION_TYPES)],
            "answer_type": ANSWER_TYPES[number % len(ANSWER_TYPES)],
            "answers": [{"answer": text, "answer_id": one + 1} for one, text in enumerate(spread)],
        }
        answered[number] = {"answer": answer}
    judge = scorer(Answers(annotated), Answers(answered), 2)
    with contextlib.redirect_stdout(io.StringIO()):
        judge.evaluate()
    lines = [judge.accuracy]
    lines += [[answer, references, round(judge.evalQA[number])]
              for number, (answer, references) in enumerate(cases)]
    return "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)


def case(rng: random.Random, contractions: list):
    """An answer and ten references, most of them spellings of the same thing."""
    meant = phrase(rng, contractions)
    spellings = [meant] + [misspelt(rng, meant) for _ in range(rng.randint(0, 3))]
    spellings += [phrase(rng, contractions) for _ in range(rng.randint(0, 2))]
    if rng.random() < 0.15:
        spellings = spellings[:1]
    counts: dict = {}
    for _ in range(10):
        spelling = rng.choice(spellings)
        counts[spelling] = counts.get(spelling, 0) + 1
    answer = misspelt(rng, meant) if rng.random() < 0.6 else rng.choice(spellings)
    return answer, sorted(counts.items())


def phrase(rng: random.Random, contractions: list) -> str:
    """One to four words."""
    pools = [WORDS, WORDS, NUMBERS, ARTICLES, contractions]
    return " ".join(rng.choice(rng.choice(pools)) for _ in range(rng.choice([1, 1, 2, 2, 3, 4])))


def misspelt(rng: random.Random, text: str) -> str:
    """The same with marks, spaces, capitals, an article or periods added, or an apostrophe lost."""
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        at = rng.randint(0, len(text))
        change = rng.randrange(8)
        if change == 0:
            text = text[:at] + rng.choice(MARKS) + text[at:]
        elif change == 1:
            text = text[:at] + rng.choice(["", " "]) + rng.choice(MARKS) + rng.choice(["", " "]) + text[at:]
        elif change == 2:
            text = text[:at] + rng.choice(SPACES) + text[at:]
        elif change == 3:
            text = rng.choice([text.upper(), text.capitalize(), text.title()])
        elif change == 4:
            text = f"{rng.choice(ARTICLES)} {text}"
        elif change == 5:
            text = text.replace("'", "", 1)
        elif change == 6:
            text = text.replace(" ", rng.choice(MARKS), 1)
        else:
            text = text[:at] + "." * rng.choice([1, 2, 3, 33, 40]) + text[at:]
    return text


if __name__ == "__main__":
    main()
