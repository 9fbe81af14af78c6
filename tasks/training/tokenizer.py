"""The tokenizer: a byte-level BPE that covers any text, with one token for each number up to 99.

A number of one or two digits is one token; longer numbers fall apart into digits, so that columns
can be worked on. Operators and brackets stand alone. Words take the spaces around them along.
"""

from __future__ import annotations

import random
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tasks.benchmarks import arithmetic, countdown
from tasks.training.prompts import synthesis_prompt
from tasks.training.teacher import Hand, arithmetic_turn, countdown_turn, text_of

VOCABULARY = 640
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = (PAD, START, END)
MARKS = ("<think>", "</think>")

PIECES = (
    r"(?<!\d)\d{1,2}(?!\d)|\d"  # a small whole number, or one digit of a longer one
    r"|[+\-*/()=^]"  # an operator or a bracket, alone
    r"| ?[A-Za-z]+ ?"  # a word with the space before and after it
    r"|[^\sA-Za-z\d+\-*/()=^]+[ \n]*"  # punctuation with what follows it
    r"|\s+"
)

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{%- set content = message.content %}"
    "{%- if message.role == 'assistant' and '</think>' in content %}"
    "{%- set content = content.split('</think>')[-1] | trim %}"
    "{%- endif %}"
    "{{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def build(seed: int = 0) -> Tokenizer:
    """Train the merges on what the model will read and write."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(SPECIAL) - len(MARKS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_corpus(seed), trainer)
    tokenizer.add_special_tokens(list(SPECIAL))
    tokenizer.add_tokens(list(MARKS))
    return tokenizer


def _corpus(seed: int) -> list[str]:
    """Every number up to 99 many times over, and samples of all that the model meets."""
    chooser = random.Random(seed)
    texts = [f"{number}\n" * 1000 for number in range(100)] + ["user\n assistant\n"] * 2000
    for _ in range(500):
        numbers, target = countdown.draw(chooser)
        question = arithmetic.draw(chooser)
        asked = [countdown.problem(numbers, target).chat[-1]["content"]]
        asked += [arithmetic.problem(question, wording).chat[-1]["content"] for wording in range(2)]
        texts += [synthesis_prompt(text, ["", ""]) for text in asked] * 2
        texts.append(text_of(countdown_turn(chooser, numbers, target)))
        texts.append(text_of(arithmetic_turn(question, Hand(chooser))))
    texts = [text.replace("<think>", "").replace("</think>", "") for text in texts]
    texts += ["Tried: \nAnswer: .\nAnswer: \n\nSteps ="] * 2000
    texts += [", reference 1\n seen\n no\n yes\n other numbers\n"] * 2000
    return texts


def save(tokenizer: Tokenizer, folder: Path, window: int) -> None:
    """Write tokenizer.json and tokenizer_config.json as transformers and vLLM read them."""
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        model_max_length=window,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
