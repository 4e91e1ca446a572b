#!/usr/bin/env bash
# Starts TensorFlow Serving in the container and in the pod, where one damaged version does not stop the start.
#
#   MODELS_CONFIG  the file that says what is served and is polled (default: /models/models.config)
#   VERIFY         0: versions are loaded whatever their checksums are
#   MODEL_NAME     without that file: the model whose newest version is served, /models/MODEL_NAME (default: htlnet)
#   arguments      further flags of tensorflow_model_server
#
# The server exits when a version that it should load at its start cannot be loaded. While it runs the same version is
# only listed as failed, and all others are served. So after such an exit it starts once more, from a copy of the file
# without the versions that failed, and reads the real file when it is up. Nothing in the models' folder is touched:
# it may be mounted read-only, and servers that have the version loaded share it.
#
# A version with a file that is not as it was written, by the checksums that `htlnet export` leaves with it, is left out
# for as long as the server runs: it would load the version and answer with wrong scores.
set -u

config=${MODELS_CONFIG:-/models/models.config}
name=${MODEL_NAME:-htlnet}
base=${MODELS_DIR:-/models}/$name
poll=5
scratch=$(mktemp -d) || exit 1
reduced=$scratch/models.config
newest="model_config_list { config { name: \"$name\" base_path: \"$base\" model_platform: \"tensorflow\" } }"
rest_port=8501
for flag; do
    if [[ $flag == --rest_api_port=* ]]; then rest_port=${flag#*=}; fi
done

say() { echo "start.sh: $*" >&2; }

# The image has no Python, but perl, which is essential in Ubuntu and Debian. Reads a model server configuration, prints
# it with the versions on disk but those of the arguments NAME=VERSION under a `specific` policy, and without a model
# that has none left. Exit code 1: no model is left.
without='
    my %bad;
    for (@ARGV) { my ($name, $version) = /^(.+)=(\d+)$/ or die "received $_\n"; $bad{$name}{$version} = 1 }
    local $/;
    my $text = <STDIN>;
    my $string = qr/"(?:[^"\\]|\\.)*"|\x27(?:[^\x27\\]|\\.)*\x27/s;
    my $block = qr/(?<block>\{(?:[^{}"\x27]++|$string|(?&block))*+\})/;
    $text =~ s/($string)|#[^\n]*/defined $1 ? $1 : ""/ge;
    my $kept = 0;
    sub reduce {
        my ($model) = @_;
        my ($name) = $model =~ /\bname\s*:\s*["\x27]([^"\x27]*)/;
        my ($base) = $model =~ /\bbase_path\s*:\s*["\x27]([^"\x27]*)/;
        return $model unless $bad{$name // ""};
        my $policy = $model =~ s/\bmodel_version_policy\s*:?\s*$block\s*[,;]?//s ? $+{block} : "";
        opendir(my $folder, $base) or return "";
        my @versions = sort { $b <=> $a } grep { /^\d+$/ && -d "$base/$_" } readdir $folder;
        @versions = map { $_ + 0 } @versions;
        if ($policy =~ /\bspecific\b/) {
            my %named = map { $_ => 1 } $policy =~ /(\d+)/g;
            @versions = grep { $named{$_} } @versions;
        }
        @versions = grep { !$bad{$name}{$_} } @versions;
        if ($policy !~ /\b(?:specific|all)\b/) {
            my $wanted = $policy =~ /\bnum_versions\s*:\s*(\d+)/ ? $1 : 1;
            splice @versions, $wanted if @versions > $wanted;
        }
        return "" unless @versions;
        my $specific = join " ", map { "versions: $_" } @versions;
        $model =~ s/\}\s*$/ model_version_policy { specific { $specific } } }/;
        return $model;
    }
    $text =~ s/\bconfig\s*:?\s*$block/my $model = reduce($+{block}); $kept++ if $model; $model ? "config $model" : ""/ge;
    print $text;
    exit($kept ? 0 : 1);
'

# The server's last words when its start has failed; and the embedded server's, which may stand in for it.
exits='Failed to start server|every version that is to be served must load'

server=
stopping=
stop() {
    stopping=1
    if [[ -n $server ]]; then kill -TERM "$server" 2>/dev/null; fi
}
trap stop TERM INT

# Runs the server until it ends. Its output goes on to ours, what it says of failed versions into a file too.
serve() {
    mkfifo "$scratch/output" || exit 1
    sed -u -E "/$exits|cannot be loaded|does not load/w $scratch/failed" <"$scratch/output" &
    local filter=$!
    tensorflow_model_server "$@" >"$scratch/output" 2>&1 &
    server=$!
    local code=0
    while true; do
        wait "$server"
        code=$?
        kill -0 "$server" 2>/dev/null || break # a signal ends the wait as well
    done
    server=
    wait "$filter"
    rm "$scratch/output"
    return "$code"
}

# The versions that stopped the start, as NAME=VERSION; none if the server was up or another thing stopped it.
failed() {
    grep -qE "$exits" "$scratch/failed" || return
    sed -n -E -e 's/.*\{name: (.+) version: ([0-9]+)\} (cannot be loaded|due to error).*/\1=\2/p' \
        -e "s/.*version ([0-9]+) of model '(.+)' does not load:.*/\2=\1/p" "$scratch/failed" | sort -u
}

# The versions that are not as they were written, as NAME=VERSION. One without checksums is taken as it is.
changed() {
    if [[ ${VERIFY:-1} == 0 ]]; then return; fi
    local sums folder version
    for sums in "${base%/*}"/*/*/assets.extra/SHA256SUMS; do
        version=${sums%/assets.extra/SHA256SUMS}
        folder=${version%/*}
        if [[ ! -f $sums || ! ${version##*/} =~ ^[0-9]+$ ]]; then continue; fi
        (cd "$version" && sha256sum --check --quiet assets.extra/SHA256SUMS >&2) ||
            echo "${folder##*/}=$((10#${version##*/}))"
    done
}

# What is to be served, without some versions, given as NAME=VERSION.
real_without() {
    { [[ -f $config ]] && cat "$config" || echo "$newest"; } | perl -e "$without" "$@"
}

# Once the server is up it is to read what it would have read at its start.
use_real_config() {
    until (exec 3<>"/dev/tcp/127.0.0.1/$rest_port") 2>/dev/null; do sleep 1; done
    # But for versions that it would load and must not, whatever is promoted or exported from now on.
    while ((${#wrong[@]})); do
        if real_without "${wrong[@]}" >"$scratch/next" && ! cmp -s "$scratch/next" "$reduced"; then
            mv -T "$scratch/next" "$reduced"
        fi
        sleep 1
    done
    if [[ ! -f $config ]]; then
        echo "$newest" >"$scratch/newest" && mv -T "$scratch/newest" "$reduced"
        until [[ -f $config ]]; do sleep 1; done
    fi
    ln -s "$config" "$scratch/link" && mv -T "$scratch/link" "$reduced"
}

if [[ -f $config ]]; then
    models=(--model_config_file="$config" --model_config_file_poll_wait_seconds="$poll")
else
    models=(--model_name="$name" --model_base_path="$base")
fi
left_out=()
code=143 # of a stop before the first start
mapfile -t wrong < <(changed)
damaged=(${wrong[@]+"${wrong[@]}"})
why='is not as it was written (its files are above)'
if ((${#wrong[@]})); then code=1; fi
while [[ -z $stopping ]]; do
    if ((${#damaged[@]} == 0)); then
        serve "${models[@]}" "$@"
        code=$?
        mapfile -t damaged < <(failed)
        why='cannot be loaded (the reason is above)'
    fi
    if [[ -n $stopping || ${#damaged[@]} -eq 0 ]]; then break; fi
    before=${#left_out[@]}
    mapfile -t left_out < <(printf '%s\n' ${left_out[@]+"${left_out[@]}"} "${damaged[@]}" | sort -u)
    # The same versions again: leaving them out does not help.
    if ((${#left_out[@]} == before)); then break; fi
    for version in "${damaged[@]}"; do
        say "version ${version##*=} of ${version%=*} $why: starting without it"
    done
    if ! real_without "${left_out[@]}" >"$reduced"; then
        say "no other version is left: export a new one, or move a label with htlnet rollback and start again"
        break
    fi
    if [[ -n ${follower:-} ]]; then kill "$follower" 2>/dev/null; fi
    models=(--model_config_file="$reduced" --model_config_file_poll_wait_seconds="$poll")
    damaged=()
    use_real_config &
    follower=$!
done
if [[ -n ${follower:-} ]]; then
    kill "$follower" 2>/dev/null
    wait "$follower" 2>/dev/null # or it writes into what is removed
fi
rm -rf "$scratch"
exit "$code"
