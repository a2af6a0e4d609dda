#!/usr/bin/env python3
"""Checks the hand-made sets: shape, counts, uniqueness, word overlap, size.

    python3 check.py

Prints a summary; every violation is a line, and any makes the exit status 1.
"""

import base64
import collections
import json
import math
import pathlib
import re
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
SIZE_LIMIT = 1_500_000
SHARED_LIMIT = 1  # content words that a paraphrase may share with its memory

STOP = set(
    """
    a about above after again against ago all almost along already also although always am among an
    and another any anybody anyone anything are around as at away be because become been before
    begin being below between both but by came can cannot come could did do does doing done down
    during each either else enough ever every everybody everyone everything few first for from
    further gave get getting give given go goes going gone good got had has have having he her here
    hers him himself his how i if in instead into is it its itself just keep kept know last later
    least less let like long made make many may me might mine more most much must my need needs
    never next no nobody none nor not nothing now of off often on once one only onto or other our
    ours out over own per please put rather s same say see shall she should since so some somebody
    someone something soon still such t take than that the their them then there these they thing
    this those though through time to together told too took toward under until up upon us use used
    very want was way we well went were what when where whether which while who whom whose why will
    with within without would yes yet you your yours re ve ll d m
    """.split()
)

SUFFIXES = (
    "ations ation ingly edly ments ment ness ings ing ies ied ers ier est ed er es ly s e y".split()
)

problems = []


def problem(text):
    problems.append(text)


def stem(word):
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word


def content_words(text):
    words = re.findall(r"[^\W_]+", text.lower().replace("'s", "").replace("’s", ""))
    return {stem(word) for word in words if word not in STOP}


def rows(name):
    out = []
    text = (HERE / name).read_text(encoding="utf-8")
    if not text.endswith("\n") or "\r" in text:
        problem(f"{name}: lines do not all end in one newline")
    for number, line in enumerate(text.split("\n")[:-1], 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            problem(f"{name}:{number}: {error}")
            continue
        if isinstance(row, dict):
            out.append((f"{name}:{number}", row))
        else:
            problem(f"{name}:{number}: not an object")
    return out


def keys(where, row, wanted):
    if set(row) != set(wanted):
        problem(f"{where}: members {sorted(row)}, not {sorted(wanted)}")
        return False
    return True


def plain(where, text):
    if not isinstance(text, str) or not text or text != text.strip() or "\n" in text:
        problem(f"{where}: not one trimmed line of text: {text!r}")
        return False
    return True


def once(where, text, seen):
    folded = " ".join(text.lower().split())
    if folded in seen:
        problem(f"{where}: same text as {seen[folded]}")
    seen.setdefault(folded, where)


def check_pairs(name, minimum):
    good, memories, questions = [], {}, {}
    for where, row in rows(name):
        if not keys(where, row, ("memory", "question")):
            continue
        if plain(where, row["memory"]) and plain(where, row["question"]):
            once(where, row["memory"], memories)
            once(where, row["question"], questions)
            good.append((where, row))
    if len(good) < minimum:
        problem(f"{name}: {len(good)} lines, fewer than {minimum}")
    return good


def check_paraphrases():
    good = check_pairs("paraphrases.jsonl", 220)
    counts = {}
    for where, row in good:
        shared = content_words(row["memory"]) & content_words(row["question"])
        counts[len(shared)] = counts.get(len(shared), 0) + 1
        if len(shared) > SHARED_LIMIT:
            problem(f"{where}: shares {sorted(shared)}")
    spread = ", ".join(f"{counts[n]} sharing {n}" for n in sorted(counts))
    print(f"paraphrases.jsonl: {len(good)} pairs; content words in common: {spread}")


def code_tokens(text):
    """Whole words as written, folded to lower case: a code is never taken apart."""
    words = (word.strip(".,;:!?\"'()").removesuffix("'s") for word in text.lower().split())
    return {word for word in words if word and word not in STOP}


def check_codes():
    good = check_pairs("codes.jsonl", 150)
    ambiguous = 0
    memories = [(where, code_tokens(row["memory"])) for where, row in good]
    held = collections.Counter(token for _, tokens in memories for token in tokens)

    def score(tokens):
        return sum(math.log(1 + len(good) / held[token]) for token in sorted(tokens))

    for (where, row), (_, own) in zip(good, memories):
        asked = code_tokens(row["question"])
        mine = score(asked & own)
        rivals = [(score(asked & tokens), other) for other, tokens in memories if other != where]
        best, other = max(rivals)
        if mine <= best:
            problem(f"{where}: {other} holds exact tokens of the question as rare as its own")
            ambiguous += 1
    print(f"codes.jsonl: {len(good)} pairs, {ambiguous} not told apart by their exact tokens")


def check_conversations():
    turns = asked = 0
    names, texts, questions = {}, {}, {}
    lines = rows("conversations.jsonl")
    for where, row in lines:
        if not keys(where, row, ("conversation", "turns", "questions")):
            continue
        if plain(where, row["conversation"]):
            once(where, row["conversation"], names)
        if not 40 <= len(row["turns"]) <= 60:
            problem(f"{where}: {len(row['turns'])} turns, not 40 to 60")
        if len(row["questions"]) < 12:
            problem(f"{where}: {len(row['questions'])} questions, fewer than 12")
        for index, turn in enumerate(row["turns"]):
            place = f"{where} turn {index}"
            if keys(place, turn, ("speaker", "text")) and plain(place, turn["speaker"]):
                if plain(place, turn["text"]):
                    once(place, turn["text"], texts)
            turns += 1
        if len({turn["speaker"] for turn in row["turns"]}) < 2:
            problem(f"{where}: fewer than two speakers")
        answered = set()
        for number, item in enumerate(row["questions"]):
            place = f"{where} question {number}"
            if not keys(place, item, ("question", "turn")):
                continue
            if plain(place, item["question"]):
                once(place, item["question"], questions)
            if type(item["turn"]) is not int or not 0 <= item["turn"] < len(row["turns"]):
                problem(f"{place}: no turn {item['turn']!r}")
            if item["turn"] in answered:
                problem(f"{place}: a second question about turn {item['turn']}")
            answered.add(item["turn"])
            asked += 1
    for what, count, minimum in (
        ("conversations", len(lines), 10),
        ("turns", turns, 450),
        ("questions", asked, 130),
    ):
        if count < minimum:
            problem(f"conversations.jsonl: {count} {what}, fewer than {minimum}")
    print(f"conversations.jsonl: {len(lines)} conversations, {turns} turns, {asked} questions")


def check_vectors():
    count, longest, seen = 0, 0, {}
    for where, row in rows("embeddings/reference.jsonl"):
        if not keys(where, row, ("text", "tokens", "vector")):
            continue
        if row["text"] in seen:
            problem(f"{where}: same text as {seen[row['text']]}")
        seen.setdefault(row["text"], where)
        data = base64.b64decode(row["vector"], validate=True)
        if len(data) != 4 * 384:
            problem(f"{where}: {len(data)} bytes of vector")
            continue
        norm = math.sqrt(sum(x * x for x in struct.unpack("<384f", data)))
        if not abs(norm - 1) < 1e-5:
            problem(f"{where}: length {norm}")
        if not 3 <= row["tokens"] <= 256:
            problem(f"{where}: {row['tokens']} tokens")
        longest = max(longest, row["tokens"])
        count += 1
    if count < 40:
        problem(f"embeddings/reference.jsonl: {count} vectors, fewer than 40")
    print(f"embeddings/reference.jsonl: {count} unit vectors, at most {longest} tokens")


def main():
    check_paraphrases()
    check_codes()
    check_conversations()
    check_vectors()
    size = sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file())
    if size > SIZE_LIMIT:
        problem(f"{size} bytes in all, more than {SIZE_LIMIT}")
    print(f"{size} bytes in all")
    for text in problems:
        print(f"violation: {text}")
    print(f"{len(problems)} violations")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
