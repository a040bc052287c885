import numpy as np

from scenegraph.tracks.appearance import MOST_UNLIKE, appearance_distance, appearance_features, mean_look


def test_a_look_is_of_colour_more_than_of_light():
    rng = np.random.default_rng(0)
    heights = np.linspace(0, 1.7, 500)
    shirt = np.clip(rng.normal((150, 40, 40), 8, (500, 3)), 0, 255).astype(np.uint8)
    darker, other = (shirt * 0.7).astype(np.uint8), shirt[:, ::-1]
    reference = appearance_features(shirt, heights)
    assert appearance_distance(reference, appearance_features(darker, heights)) < 1
    assert appearance_distance(reference, appearance_features(other, heights)) == MOST_UNLIKE
    assert appearance_distance(reference, (None, None)) == 0
    upper, lower = appearance_features(shirt[:80], heights[:80])  # up to 0.27 m: some of the legs, nothing above
    assert upper is None
    assert lower is not None
    mean = mean_look([reference, (None, reference[1]), (None, None)])
    np.testing.assert_allclose(mean[0], reference[0])
    assert mean_look([]) == (None, None)
