#!/bin/sh
# The compose file's one-shot service: sees to it that /models holds a servable before TF Serving starts.
#
#   MODELS      set: /models is the user's own export, looked at and never written to; empty: it is the stack's volume
#   MODEL_NAME  the model, /models/MODEL_NAME (default: htlnet)
#   CONFIG      a configuration of htlnet, by name or path (default: generated)
set -eu

models=${MODELS_DIR:-/models}
name=${MODEL_NAME:-htlnet}

# The highest number of a folder with a servable in it; nothing if there is none.
newest() {
    for file in "$models/$name"/*/saved_model.pb; do
        if [ -f "$file" ]; then basename "$(dirname "$file")"; fi
    done | grep -E '^[0-9]+$' | sort -n | tail -n 1
}

version=$(newest)
if [ -n "${MODELS:-}" ]; then
    if [ -z "$version" ]; then
        echo "error: no $name/NUMBER/saved_model.pb in MODELS=$MODELS" >&2
        echo "MODELS is the absolute path of a folder that htlnet export wrote, readable for every user" >&2
        exit 1
    fi
    echo "MODELS=$MODELS has $name, version $version: nothing to train"
    exit 0
fi

if [ -z "$version" ]; then
    run=$(mktemp -d)/run
    htlnet train "${CONFIG:-generated}" --output "$run"
    htlnet export "$run" --to "$models" --name "$name"
    version=$(newest)
else
    echo "the volume has $name, version $version: nothing to train (docker compose down --volumes removes it)"
fi
# Also after a stop between export and promote. A label that somebody has set since stays.
if [ ! -f "$models/models.config" ]; then
    htlnet promote "$models" "$name" "$version" --label stable
fi
