"""How it is done: draws, prompts, generations and rounds, as they run in one process."""
