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

# Ends with an error unless files can be made in the folder: training takes minutes, and the export comes after it.
require_writable() {
    if ! probe=$(mktemp "$1/.probe.XXXXXX"); then
        echo "error: user $(id -u):$(id -g) cannot write to $1, which is $(stat -c 'owned by %u:%g with mode %a' "$1")" >&2
        echo "docker compose down --volumes makes the volume anew; SERVING_USER is the user that writes and reads it" >&2
        exit 1
    fi
    rm "$probe"
}

case ${MODELS:-/} in
    /*) ;;
    *)
        echo "error: MODELS must be an absolute path, such as \$PWD/models; received MODELS=$MODELS" >&2
        echo "Compose takes a relative one from the folder of docker-compose.yml, and has made an empty folder there" >&2
        exit 1
        ;;
esac

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

if [ -z "$version" ] || [ ! -f "$models/models.config" ]; then
    require_writable "$models"
    if [ -d "$models/$name" ]; then require_writable "$models/$name"; fi
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
