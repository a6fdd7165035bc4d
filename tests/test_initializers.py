"""Initializers: variances, fans, seeds, names. Random tests have fixed seeds; a bound of
five standard errors is stated where a moment is compared."""

from math import sqrt

import numpy as np
import pytest

from pyact import config, initializers, random_state

SEEDED = [
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "GlorotUniform",
    "GlorotNormal",
    "HeUniform",
    "HeNormal",
    "LecunUniform",
    "LecunNormal",
    "Orthogonal",
]


@pytest.mark.parametrize(
    ("shape", "fans"),
    [
        ((), (1, 1)),
        ((7,), (7, 7)),
        ((784, 500), (784, 500)),
        ((3, 16, 32), (48, 96)),
        ((3, 3, 16, 32), (144, 288)),
    ],
)
def test_fans_are_keras_fans(shape, fans):
    assert initializers.compute_fans(shape) == fans


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("GlorotUniform", 2 / (300 + 500)),
        ("GlorotNormal", 2 / (300 + 500)),
        ("HeUniform", 2 / 300),
        ("HeNormal", 2 / 300),
        ("LecunUniform", 1 / 300),
        ("LecunNormal", 1 / 300),
    ],
)
def test_variance_is_scale_over_fan(name, variance):
    w = getattr(initializers, name)(seed=3)((300, 500), "float64")
    n = w.size
    assert abs(w.mean()) < 5 * sqrt(variance / n)
    # the kurtosis of these distributions is below 3, so the error of the variance is at most
    # that of a normal: variance * sqrt(2/n)
    assert abs(w.var() - variance) < 5 * variance * sqrt(2 / n)
    if name.endswith("Uniform"):
        assert abs(w).max() <= sqrt(3 * variance)
    else:
        assert abs(w).max() <= 2 * sqrt(variance) / 0.87962566103423978


def test_truncated_normal_is_cut_at_two_and_not_widened():
    w = initializers.TruncatedNormal(mean=1.0, stddev=0.5, seed=1)((400, 400), "float64")
    assert abs(w - 1).max() <= 1.0
    assert abs(w.std() - 0.5 * 0.87962566103423978) < 5 * 0.5 / sqrt(2 * w.size)


def test_truncation_constant_is_that_of_the_normal_density():
    from statistics import NormalDist

    normal = NormalDist()
    std = sqrt(1 - 4 * normal.pdf(2) / (2 * normal.cdf(2) - 1))
    assert abs(std - initializers._TRUNCATED_STD) < 1e-12


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (2, 3, 4)])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    q = initializers.Orthogonal(gain=2.0, seed=1)(shape, "float64").reshape(-1, shape[-1])
    small = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-13)


def test_orthogonal_draws_both_determinants():
    signs = {
        round(float(np.linalg.det(initializers.Orthogonal(seed=s)((3, 3), "float64"))))
        for s in range(20)
    }
    assert signs == {-1, 1}


def test_constants_and_identity():
    assert initializers.Zeros()((2, 3)).tolist() == [[0] * 3] * 2
    assert initializers.Ones()((2,)).tolist() == [1, 1]
    assert initializers.Constant([1.0, 2.0])((3, 2)).tolist() == [[1, 2]] * 3
    assert initializers.Identity(gain=2)((2, 3)).tolist() == [[2, 0, 0], [0, 2, 0]]


@pytest.mark.parametrize("name", SEEDED)
def test_seed_fixes_values_and_none_does_not(name):
    cls = getattr(initializers, name)
    shape = (5, 4)
    same = cls(seed=7)
    np.testing.assert_array_equal(same(shape), same(shape))
    np.testing.assert_array_equal(same(shape), cls(seed=7)(shape))
    assert (same(shape) != cls(seed=8)(shape)).any()
    free = cls()
    assert (free(shape) != free(shape)).any(), "layers sharing an initializer must differ"
    rng = np.random.default_rng(1)
    assert (cls(seed=rng)(shape) != cls(seed=rng)(shape)).any()
    ss = np.random.SeedSequence(5)
    np.testing.assert_array_equal(cls(seed=ss)(shape), cls(seed=ss)(shape))
    assert ss.n_children_spawned == 0


@pytest.mark.parametrize("name", SEEDED)
def test_float32_is_float64_rounded(name):
    cls = getattr(initializers, name)
    w64, w32 = cls(seed=7)((5, 4), "float64"), cls(seed=7)((5, 4), "float32")
    assert w32.dtype == np.float32
    np.testing.assert_array_equal(w64.astype(np.float32), w32)


def test_set_seed_fixes_the_order_of_unseeded_draws():
    def three():
        random_state.set_seed(11)
        return [initializers.HeNormal()((3, 2)) for _ in range(3)]

    first, again = three(), three()
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any()


def test_numpys_global_state_is_left_alone():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    random_state.set_seed(5)
    initializers.HeNormal()((3, 2))
    random_state.spawn()
    assert (np.random.get_state()[1] == before).all()


def test_set_seed_takes_generators_and_seed_sequences():
    for make in (lambda: np.random.default_rng(4), lambda: np.random.SeedSequence(4), lambda: 4):
        random_state.set_seed(make())
        a = random_state.seed_value()
        random_state.set_seed(make())
        assert random_state.seed_value() == a
    ss = np.random.SeedSequence(4)
    own = ss.spawn(1)[0].generate_state(4).tolist()
    random_state.set_seed(ss)
    assert random_state.spawn().generate_state(4).tolist() != own


@pytest.mark.parametrize(
    ("seed", "error"), [(-1, ValueError), ("1", TypeError), (1.5, TypeError), (True, TypeError)]
)
def test_bad_seeds(seed, error):
    with pytest.raises(error, match="seed must be"):
        random_state.set_seed(seed)
    with pytest.raises(error, match="seed must be"):
        initializers.HeNormal(seed=seed)


def test_default_dtype_is_floatx():
    config.set_floatx("float64")
    try:
        assert initializers.Zeros()((2,)).dtype == np.float64
        assert initializers.HeNormal()((2, 2)).dtype == np.float64
    finally:
        config.set_floatx("float32")
    assert initializers.HeNormal()((2, 2)).dtype == np.float32
    for name in (np.float64, np.dtype("float64"), float, "float64"):
        assert initializers.Ones()((2,), name).dtype == np.float64
    with pytest.raises(ValueError, match="float16"):
        config.set_floatx("float16")


@pytest.mark.parametrize("cls", initializers._CLASSES)
def test_every_class_is_found_by_name_and_rebuilt_from_its_config(cls):
    snake = initializers.snake(cls.__name__)
    for key in (cls.__name__, snake, cls, cls()):
        assert type(initializers.get(key)) is cls
    made = initializers.deserialize(initializers.serialize(cls()))
    assert made.get_config() == cls().get_config()


def test_config_of_a_seeded_one_gives_the_same_values():
    a = initializers.VarianceScaling(3.0, "fan_avg", "uniform", seed=9)
    b = initializers.deserialize(initializers.serialize(a))
    np.testing.assert_array_equal(a((4, 4)), b((4, 4)))


def test_names_wrong_and_near():
    with pytest.raises(ValueError, match="did you mean 'he_normal'"):
        initializers.get("he_norml")
    with pytest.raises(TypeError, match="must be a name"):
        initializers.get(3)
    with pytest.raises(ValueError, match="did you mean 'fan_in'"):
        initializers.VarianceScaling(mode="fanin")


def test_functions_are_checked_for_their_shape():
    get = initializers.get(lambda shape, dtype=None: np.full(shape, 2))
    assert get((2, 2)).tolist() == [[2, 2], [2, 2]]
    with pytest.raises(ValueError, match=r"returned shape \(3,\), expected \(2, 2\)"):
        initializers.get(lambda shape, dtype=None: np.ones(3))((2, 2))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: initializers.RandomNormal(stddev=-1), "stddev must be at least 0"),
        (lambda: initializers.RandomUniform(1, 0), "maxval must be at least 1"),
        (lambda: initializers.VarianceScaling(0), "scale must be above 0"),
        (lambda: initializers.Constant(float("nan")), "value must be finite"),
        (lambda: initializers.Orthogonal()((3,)), "at least two"),
        (lambda: initializers.Identity()((3,)), "makes matrices"),
        (lambda: initializers.Zeros()((-3,)), "at least 0"),
    ],
)
def test_bad_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize("distribution", ["uniform", "untruncated_normal", "normal"])
def test_a_large_array_is_drawn_in_parts(distribution, monkeypatch):
    """From one stream, so that only what is drawn again, being too large, tells parts apart."""
    make = initializers.VarianceScaling(distribution=distribution, seed=3)
    whole = make((50, 40))
    monkeypatch.setattr(initializers, "_PART", 999)
    parts = make((50, 40))
    assert parts.dtype == whole.dtype and len(np.unique(parts)) > 1900
    assert np.array_equal(parts, whole) == (distribution != "normal")
    assert abs(parts.std() / whole.std() - 1) < 0.02
    assert (parts.reshape(-1)[:900] == whole.reshape(-1)[:900]).mean() > 0.9


def test_empty_shapes():
    assert initializers.GlorotUniform(seed=1)((0, 3)).shape == (0, 3)
    assert initializers.TruncatedNormal(seed=1)((0,)).shape == (0,)
    assert initializers.Orthogonal(seed=1)((0, 3)).shape == (0, 3)
