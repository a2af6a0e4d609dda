#!/usr/bin/env python3
"""Reference vectors and reference recall, computed with sentence-transformers.

    python reference.py MODEL_DIRECTORY            print recall of the three sets
    python reference.py MODEL_DIRECTORY --vectors  also rewrite embeddings/reference.jsonl

MODEL_DIRECTORY holds all-MiniLM-L6-v2 as sentence-transformers lays it out.
Nothing is fetched: set HF_HUB_OFFLINE=1 to be sure of it.
"""

import base64
import json
import pathlib
import sys

import numpy
from sentence_transformers import SentenceTransformer

HERE = pathlib.Path(__file__).resolve().parent

# One long passage, cut below at exact token counts.
PASSAGE = """
The old ferry left the quay at ten minutes past six, carrying fourteen passengers, two bicycles and
a crate of lemons that nobody had claimed. Marta stood by the rail and counted the lamps along the
breakwater, because her grandmother had told her there were thirty-one and she had only ever found
thirty. Behind her the engine coughed, settled into its usual rhythm, and pushed a thin line of foam
toward the harbour wall. The captain, a short man with a careful voice, read the weather aloud to no
one in particular: wind from the south-west, four rising to five, visibility good, a little rain
after midnight. On the upper deck a teacher was marking essays under a torch. She had read nineteen
versions of the same argument about the price of bread, and she was beginning to believe it. A boy
asked her whether whales could sleep while they swam. Half of the whale sleeps, she said, and the
other half steers. He thought about that for a long time and then went to tell his brother, who did
not believe a word of it. When the island came into view it was only a darker piece of the dark,
with one window lit high on the hill. Marta knew the window. It belonged to the house where the
telephone exchange had been, before the cable was cut in the winter storms and the company decided
that repairs would cost more than the calls were worth. Someone lived there still and kept the
switchboard polished, plugging in cords that led nowhere and wishing good evening to subscribers who
had moved away. The ferry slowed. A rope flew across the gap, was caught, and drew tight with a
groan. The lemons were the first to go ashore; a woman in a yellow coat signed for them without
looking at the paper. Then came the bicycles, the teacher, the boys, and last of all Marta, who
turned back at the top of the steps, counted once more from left to right, and found the missing
lamp at the very end, small and green, fixed to the bow of the ferry itself.
"""

CUT_AT = [8, 17, 32, 40, 64, 100, 128, 200, 255, 256]

LONG_CODE = """
fn merge(mut left: Vec<(u64, f32)>, right: &[(u64, f32)], limit: usize) -> Vec<(u64, f32)> {
    left.extend_from_slice(right);
    left.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    left.dedup_by_key(|pair| pair.0);
    left.truncate(limit);
    left
}

#[test]
fn merge_keeps_the_best() {
    let merged = merge(vec![(1, 0.25), (2, 0.75)], &[(3, 0.5), (2, 0.75)], 2);
    assert_eq!(merged, vec![(2, 0.75), (3, 0.5)]);
    assert!(merge(Vec::new(), &[], 10).is_empty());
    for limit in 0..=4 {
        assert!(merge(vec![(7, 1.0)], &[(8, 0.9), (9, 0.8)], limit).len() <= limit);
    }
}
"""

LONG_CJK = (
    "昨日の会議で、倉庫の移転は来年の三月まで延期すると決まりました。"
    "理由は二つあります。一つは新しい棚の納品が遅れていること、もう一つは運送会社の予約が取れないことです。"
    "田中さんが大家さんに連絡し、契約を三か月延ばせるかどうか確認します。"
    "我们的服务器每天凌晨两点备份数据，备份文件保留三十天，之后自动删除。"
    "如果备份失败，值班人员会收到短信，并且必须在一小时之内重新运行。"
    "다음 주 화요일에는 사무실이 문을 닫으니 택배는 경비실에 맡겨 주세요."
)

TEXTS = [
    "lighthouse",
    "a",
    "?",
    "Otorhinolaryngologists",
    "The backup runs at 02:15 every night.",
    "Does anyone remember where we put the spare key?",
    "SHOUTING IN CAPITALS DOES NOT CHANGE THE VECTOR OF AN UNCASED MODEL.",
    "shouting in capitals does not change the vector of an uncased model.",
    "Zoë's café in Málaga serves crème brûlée; Łukasz prefers smørrebrød, naïvely.",
    "Cafe\u0301 written with a combining accent, and caf\u00e9 written without one.",
    "Straße, œuvre, Ærø, İstanbul, ǅungla, ﬁnance",
    "Москва не сразу строилась, но метро работает с шести утра.",
    "Η συνάντηση μεταφέρθηκε στις εννέα το πρωί.",
    "مكتب الشركة مغلق يوم الجمعة",
    "बैठक सोमवार को सुबह दस बजे होगी।",
    "東京の天気は晴れ、気温は二十三度です。",
    "我喜欢在下雨天喝热茶。",
    "내일 오후 세 시에 치과 예약이 있어요.",
    "Shipped it! 🚀🎉 Then the pager went off 😱",
    "👩‍👩‍👧‍👦 family, 🇳🇴 flag, 👍🏽 thumb",
    "   leading,\ttabbed,\n\nbroken   and trailing   ",
    "non\u00a0breaking, zero\u200bwidth, soft\u00adhyphen, ideographic\u3000space",
    "control\u0001characters\u007fand a replacement \ufffd sign",
    "let total = items.iter().map(|i| i.price * i.qty as f64).sum::<f64>();",
    "SELECT id, name FROM users WHERE created_at > '2024-01-31' ORDER BY name LIMIT 20;",
    "{\"retries\": 3, \"backoff_ms\": [100, 400, 1600], \"on\": true}",
    "3.14159265358979 2.71828 1,000,000 0xDEADBEEF 1e-12 192.168.0.1",
    "550e8400-e29b-41d4-a716-446655440000",
    "INC-20417 was closed; INC-20471 is still open.",
    "!!! ... --- ((())) [[]] {} <> @#$%^&*",
    "co-operate, don't, rock'n'roll, e.g., i.e., U.S.A., $4.50, 50%",
    "[CLS] a marker written out by hand [SEP] and a [MASK]",
    "x" * 120,
    "pneumonoultramicroscopicsilicovolcanoconiosis",
]


def tokens_of(model, text):
    """How many tokens the model sees: both markers included, cut at its limit."""
    return int(model.preprocess([text])["input_ids"].shape[1])


def cut(model, text, wanted):
    """The longest run of leading words that fits, filled up with one-token words."""
    words = text.split()
    low, high = 0, len(words)
    while low < high:
        middle = (low + high + 1) // 2
        encoded = model.tokenizer(" ".join(words[:middle]), truncation=False)
        if len(encoded["input_ids"]) <= wanted:
            low = middle
        else:
            high = middle - 1
    words = words[:low]
    while len(model.tokenizer(" ".join(words), truncation=False)["input_ids"]) < wanted:
        words.append("so")
    return " ".join(words)


def texts(model):
    passage = " ".join(PASSAGE.split())
    return (
        TEXTS
        + [cut(model, passage, count) for count in CUT_AT]
        + [passage, LONG_CODE.strip(), LONG_CJK * 2]
    )


def encode(model, items):
    # One at a time, so that no vector depends on what it was padded against.
    return numpy.stack(
        [
            model.encode(item, batch_size=1, normalize_embeddings=True, convert_to_numpy=True)
            for item in items
        ]
    ).astype("<f4")


def write_vectors(model):
    lines = []
    for text, vector in zip(texts(model), encode(model, texts(model))):
        lines.append(
            json.dumps(
                {
                    "text": text,
                    "tokens": tokens_of(model, text),
                    "vector": base64.b64encode(vector.tobytes()).decode("ascii"),
                },
                ensure_ascii=False,
            )
        )
    path = HERE / "embeddings" / "reference.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(f"embeddings/reference.jsonl: {len(lines)} vectors")


def rows(name):
    with open(HERE / name, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def pairs(name):
    """Documents, questions, and for each question the index of its document."""
    lines = rows(name)
    return (
        [line["memory"] for line in lines],
        [line["question"] for line in lines],
        list(range(len(lines))),
    )


def conversations(name):
    """Every turn of every conversation is a document: its text, without the speaker."""
    documents, questions, answers = [], [], []
    for line in rows(name):
        first = len(documents)
        documents += [turn["text"] for turn in line["turns"]]
        for asked in line["questions"]:
            questions.append(asked["question"])
            answers.append(first + asked["turn"])
    return documents, questions, answers


def recall(model, name, load):
    documents, questions, answers = load(name)
    scores = encode(model, questions) @ encode(model, documents).T
    # Equal scores: the earlier document first.
    order = numpy.argsort(-scores, axis=1, kind="stable")
    places = [int(numpy.where(row == answer)[0][0]) for row, answer in zip(order, answers)]
    at = {k: sum(place < k for place in places) / len(places) for k in (1, 5)}
    print(
        f"{name}: {len(documents)} documents, {len(questions)} questions, "
        f"recall@1 {at[1]:.4f}, recall@5 {at[5]:.4f}"
    )


def main():
    if len(sys.argv) not in (2, 3) or (len(sys.argv) == 3 and sys.argv[2] != "--vectors"):
        sys.exit(__doc__)
    model = SentenceTransformer(sys.argv[1], device="cpu")
    if len(sys.argv) == 3:
        write_vectors(model)
    recall(model, "paraphrases.jsonl", pairs)
    recall(model, "codes.jsonl", pairs)
    recall(model, "conversations.jsonl", conversations)


if __name__ == "__main__":
    main()
