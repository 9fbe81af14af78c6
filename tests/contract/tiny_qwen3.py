"""Makes a tiny Qwen3 with random weights, for a real server: `.venv-vllm/bin/python tiny_qwen3.py OUT`.

About a million parameters, a window of 16,384 tokens (what the CPU engine can prefill in one go), an own
tokenizer and Qwen3's chat format with thinking. It writes noise of the right shape: at temperature 1 each
token closes the thinking with probability `P_CLOSE` and ends the text with probability `P_END`. So a
generation has about 1 / P_END tokens, three in four have an answer after `</think>`, and the others end
while still thinking. The noise is whole UTF-8 characters, among them control characters, Chinese, and
`</think>` once more in the answer. The same seed gives the same model.
"""

import argparse
from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

P_CLOSE = 1 / 40
P_END = 1 / 120
P_NEVER = 1e-9
WINDOW = 16_384

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
OPEN, CLOSE = "<think>", "</think>"

CORPUS = """
You are given a problem and a list of reference responses. Your job is to analyze these references and
provide your own comprehensive response. Original Problem: Reference Responses: Reference 1: Reference 2:
Reference 3: Let the number of ways be the largest integer such that the sum is divisible by 7. Find the
remainder when it is divided by 1000. Suppose that for all real numbers x and y we have f(x + y) = f(x) +
f(y), hence f(0) = 0. Consider the triangle ABC with circumcenter O; compute the area of the square, then
the probability that a point lies inside. Wait, check again: 12 * 3 = 36, 48 / 2 = 24, 10 - 4 = 6. Therefore
the answer is 24. So each of the n players chooses uniformly at random, independent of the others. Now write
the expression as a polynomial and expand. This is wrong.
参考 答案 因此 ∑ ≤ ≥ π √ naïve
"""

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "<|im_start|>assistant\n<think>\n"
    "{% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n{% endif %}"
    "{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of a few hundred merges: any text goes through it and comes back unchanged."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, min_frequency=1, show_progress=False)
    tokenizer.train_from_iterator(CORPUS.splitlines(), trainer)
    tokenizer.add_special_tokens([PAD, START, END])
    # As in Qwen3, the thinking marks are plain added tokens: they show up in decoded text.
    tokenizer.add_tokens([AddedToken(OPEN, special=False), AddedToken(CLOSE, special=False)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        model_max_length=WINDOW,
        clean_up_tokenization_spaces=False,
    )


def token_probabilities(tokenizer: PreTrainedTokenizerFast) -> dict[int, float]:
    """The tokens whose probability is set by hand; what is left belongs to the others, at random."""
    token = tokenizer.convert_tokens_to_ids
    broken = [i for i in range(len(tokenizer)) if "\N{REPLACEMENT CHARACTER}" in tokenizer.decode([i])]
    never = [*broken, token(PAD), token(START), token(OPEN)]
    return dict.fromkeys(never, P_NEVER) | {token(CLOSE): P_CLOSE, token(END): P_END}


def make_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """Random weights, but for one hidden dimension that stays constant and carries the set probabilities."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=WINDOW,
        initializer_range=0.05,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = Qwen3ForCausalLM(config).eval()
    with torch.no_grad():
        embedding, head = model.model.embed_tokens.weight, model.lm_head.weight
        embedding.normal_()
        head.normal_(std=config.hidden_size**-0.5)
        # Dimension 0 is the same for every token, no layer writes to it, and no ordinary token reads it.
        embedding[:, 0] = 8.0
        head[:, 0] = 0.0
        for layer in model.model.layers:
            layer.self_attn.o_proj.weight[0] = 0.0
            layer.mlp.down_proj.weight[0] = 0.0
        set_probabilities(model, token_probabilities(tokenizer))
    model.generation_config = GenerationConfig(
        do_sample=True, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    return model.to(torch.bfloat16)


def set_probabilities(model: Qwen3ForCausalLM, probabilities: dict[int, float]) -> None:
    """Make each of these tokens as likely as given, whatever the context."""
    head = model.lm_head.weight
    contexts = torch.randint(len(head), (16, 256))
    hidden = model.model(contexts).last_hidden_state.flatten(0, 1)
    others = [i for i in range(len(head)) if i not in probabilities]
    rest = 1.0 - sum(probabilities.values())
    total = torch.logsumexp(hidden @ head[others].T, dim=-1).mean() - torch.tensor(rest).log()
    for token, probability in probabilities.items():
        head[token] = 0.0
        head[token, 0] = (total + torch.tensor(probability).log()) / hidden[:, 0].mean()


def main() -> None:
    """Write model and tokenizer to a folder that `vllm serve` takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    tokenizer = make_tokenizer()
    model = make_model(tokenizer, arguments.seed)
    model.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    print(f"{arguments.out}: {model.num_parameters():,} parameters, {len(tokenizer)} tokens")


if __name__ == "__main__":
    main()
