"""The Gaussian-process model behind the algorithms ``gp`` and ``auto``: NumPy and SciPy only.

Notation, used in all modules of this package:
    k: number of free parameters (those that can take more than one value).
    X: encoded points, shape (q, k). A number is its place in [0, 1], a choice without order is its code 0, 1, …; an inactive
        number is 0.5, an inactive choice is -1.
    F: features, shape (q, m): the Euclidean space in which the kernel measures distances, see :mod:`.features`.
    t: standardised targets, shape (n,), minimised.
    theta: logarithms of the kernel's hyper-parameters, see :mod:`.kernel`.

Modules: ``encoding`` (assignments <-> X), ``features`` (X -> F), ``kernel``, ``linear`` (Cholesky), ``fitting`` (theta), ``posterior``,
``targets`` (values -> t), ``models`` (which model when, what may be remembered), ``design`` (the first points), ``branches`` (neglected
ones), ``acquisition`` (what a point promises), ``candidates`` and ``optimise`` (the point that promises most).
"""
