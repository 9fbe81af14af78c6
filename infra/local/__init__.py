"""The engine `local`: a small Qwen3 in this process, in numpy."""
