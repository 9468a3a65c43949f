#!/usr/bin/env python3
"""Downloads easy-VQA 1.0 (PyPI, MIT, Victor Zhou) and writes it in VQA v2's file layout.

    python3 scripts/easy_vqa.py DIR

Downloads the wheel with pip and checks its checksum. DIR then contains, for train2014 (4,000
images) and val2014 (1,000 images), VQA v2's questions and annotations JSON, the images under
COCO's names, and captions_{split}.jsonl: "a blue triangle" for every image whose questions and
answers state both shape and colour. easy-VQA has one annotator: each answer is repeated ten times,
so accuracy is exact match. Needs only Python 3.8 and pip.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile

WHEEL = "easy_vqa-1.0-py3-none-any.whl"
SHA256 = "fcb51b309b78c7b00f97b64cdbcbcf5c105f94da1b39c0796cee5a787c4f650f"
SHAPES = ["circle", "rectangle", "triangle"]
COLOURS = ["black", "gray", "red", "blue", "yellow", "teal", "green", "brown"]
# Longest first: VQA v2 files a question under the longest type it starts with.
TYPES = ["is there not a", "is there a", "does the image not contain", "does the image contain",
         "is no", "is a", "what shape", "what color", "what is the color of", "what is the"]


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: easy_vqa.py DIR")
    out = pathlib.Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "easy-vqa==1.0", "--no-deps", "--quiet",
                   "--disable-pip-version-check", "--dest", folder]
        if subprocess.run(command, check=False).returncode != 0:
            sys.exit("pip cannot download easy-vqa 1.0; check that a package index is reachable")
        wheel = pathlib.Path(folder, WHEEL)
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
            sys.exit(f"{WHEEL} has a different checksum than the file this script expects")
        with zipfile.ZipFile(wheel) as archive:
            for source, split in [("train", "train2014"), ("test", "val2014")]:
                convert(archive, source, split, out)
    print(f"next: cargo run --release -- testnet --vqa {out}")


def convert(archive: zipfile.ZipFile, source: str, split: str, out: pathlib.Path) -> None:
    """One split: its images renamed, its questions split into VQA v2's two files."""
    base = f"easy_vqa/data/{source}"
    triples = json.loads(archive.read(f"{base}/questions.json"))
    (out / split).mkdir(parents=True, exist_ok=True)
    questions, annotations, asked, facts = [], [], {}, {}
    for text, answer, image in triples:
        number = asked.get(image, 0)
        asked[image] = number + 1
        ids = {"question_id": image * 1000 + number, "image_id": image}
        questions.append({**ids, "question": text})
        annotations.append({
            **ids,
            "question_type": next((kind for kind in TYPES if text.startswith(kind)), "none of the above"),
            "answer_type": "yes/no" if answer in ("yes", "no") else "other",
            "multiple_choice_answer": answer,
            "answers": [{"answer_id": one, "answer": answer, "answer_confidence": "yes"}
                        for one in range(1, 11)],
        })
        facts.setdefault(image, set()).update(told(text, answer))
    for image in asked:
        name = f"COCO_{split}_{image:012}.png"
        (out / split / name).write_bytes(archive.read(f"{base}/images/{image}.png"))
    write(out / f"v2_OpenEnded_mscoco_{split}_questions.json", {"questions": questions})
    write(out / f"v2_mscoco_{split}_annotations.json", {"annotations": annotations})
    captions = [line for image in sorted(facts) for line in caption(image, facts[image])]
    (out / f"captions_{split}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in captions))
    print(f"{split}: {len(asked)} images, {len(questions)} questions, {len(captions)} captions")


def told(text: str, answer: str) -> set:
    """The words that one question and its answer state about the image."""
    words = set(re.findall("[a-z]+", text))
    is_negated = bool(words & {"not", "no"})
    if answer in ("yes", "no") and (answer == "yes") == is_negated:
        return set()
    return (words | {answer}) & {*SHAPES, *COLOURS}


def caption(image: int, facts: set) -> list:
    """The image's caption with GenEval's rule, where shape and colour are both known."""
    shapes = [word for word in SHAPES if word in facts]
    colours = [word for word in COLOURS if word in facts]
    if len(shapes) != 1 or len(colours) != 1:
        return []
    include = [{"class": shapes[0], "count": 1, "color": colours[0]}]
    text = f"a {colours[0]} {shapes[0]}"
    return [{"image_id": image, "prompt": {"tag": "colors", "include": include, "prompt": text}}]


def write(path: pathlib.Path, value: dict) -> None:
    path.write_text(json.dumps(value))


if __name__ == "__main__":
    main()
