"""How many tokens a chat has at most."""

import json

from infra.engine import Chat
from infra.sampler import Sampler


def at_most_tokens(chat: Chat, sampler: Sampler) -> int:
    """An upper bound of a chat's tokens that asks nobody; about four times the count of English text.

    A byte-level BPE never makes more tokens than there are UTF-8 bytes. For what the chat template adds: 16 a
    message, and 512 for a default system prompt and the template's options.
    """
    written = json.dumps(chat, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return len(written) + 16 * len(chat) + 512 + len(json.dumps(sampler.chat_template))
