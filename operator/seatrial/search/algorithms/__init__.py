"""One file an algorithm, one line an algorithm in the table below; the line also enrols it in the contract tests."""
