"""What is asked: the campaign file, its benchmark, its methods and their prompts, and the plan that they make."""
