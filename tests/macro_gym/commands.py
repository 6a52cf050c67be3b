"""How commands fail."""

from macro_gym.cli import main


def failed(argv, capsys):
    """The one line that a failing command prints last."""
    assert main([str(word) for word in argv]) == 2
    err = capsys.readouterr().err
    assert err.startswith("macro-gym: ")
    assert err.count("\n") == 1
    return err
