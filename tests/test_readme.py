"""The README keeps its promises about itself."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


def test_the_first_two_blocks_are_one_line_each() -> None:
    demo, test = BLOCKS[:2]
    assert demo.count("\n") == test.count("\n") == 1
    assert "python -m stemsep --config configs/demo.py" in demo
    for tool in ("flake8", "isort", "mypy", "pytest"):
        assert tool in test


def test_modules_configs_and_flags_that_it_names_exist() -> None:
    for module in re.findall(r"python -m (stemsep(?:\.\w+)*)", TEXT):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
    for config in re.findall(r"configs/\w+\.py", TEXT):
        assert (ROOT / config).exists(), config
    for script in re.findall(r"launch/[\w.]+", TEXT):
        assert (ROOT / script).exists(), script
