"""On generated rows, whose truth is known, HTLNet comes close to what no model can beat."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

import htlnet_tf as htl
from htlnet_tf.config import RunConfig, shipped
from htlnet_tf.data.splits import time_split
from htlnet_tf.data.synthetic import generate_funnel
from htlnet_tf.training import Prepared, fit


def test_htlnet_reaches_the_oracle() -> None:
    config = RunConfig.from_yaml(shipped("generated"))
    shop = generate_funnel(config.data.num_rows, seed=config.data.seed)
    parts = time_split(shop.frame, shop.schema, config.split)
    encoder = htl.FeatureEncoder.fit(shop.schema, parts[0])
    prepared = Prepared(encoder.schema, encoder, *parts)
    run = fit(config, prepared)
    test, truth = prepared.test, shop.truth.loc[prepared.test.index]
    for target in ("click", "purchase"):
        oracle = roc_auc_score(test[target], truth[target])
        model = run.report.value(target, "auc")
        print(f"{target} AUC: oracle {oracle:.4f}, HTLNet {model:.4f}")
        assert model > oracle - 0.01
    oracle = np.sqrt(np.mean((test["spend"] - truth["spend"]) ** 2)) / np.std(test["spend"])
    model = run.report.value("spend", "nrmse")
    print(f"spend NRMSE: oracle {oracle:.4f}, HTLNet {model:.4f}")
    assert model < oracle + 0.02
