"""The subcommands of ``macro-gym``, one a file; `macro_gym.cli` collects them."""
