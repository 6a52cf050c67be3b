"""The subcommands of ``macro-gym``, one per file; `macro_gym.cli` collects them."""
