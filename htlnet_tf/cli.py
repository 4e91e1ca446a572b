"""The `htlnet` command: parses, calls, prints; no logic."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any

from absl import app, flags, logging
from absl.flags import argparse_flags

from htlnet_tf import __version__
from htlnet_tf.errors import InputError, NonFiniteError, VerificationError, WorkerLostError
from htlnet_tf.manifest import unchecked
from htlnet_tf.stopping import stop_by_unwinding

_READ_WHAT_WAS_WRITTEN = {
    *("update", "evaluate", "drift", "gate", "rank-search", "report", "export", "promote", "serve", "score", "parity")
}
"""Commands that read run folders or versions, each file of which is held against its checksum."""


def run() -> None:
    """The console entry point."""
    # TensorFlow's C++ side reports on CPU features and missing GPUs at every start; the user may ask for it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stop_by_unwinding()
    app.run(_main, flags_parser=_parse)


def _main(arguments: argparse.Namespace) -> int:
    from htlnet_tf.serving import ServingError

    command: Callable[[argparse.Namespace], int | None] = arguments.command
    if not flags.FLAGS["verbosity"].present:
        # Keras and TensorFlow report through absl on every save and load; `--verbosity=0` shows it.
        logging.set_verbosity(logging.WARNING)
    try:
        with unchecked(getattr(arguments, "no_verify", False)):
            return command(arguments) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (NonFiniteError, ServingError, VerificationError, WorkerLostError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; nothing half-written is left behind", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe has gone, `... | head`; Python would complain again when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse_flags.ArgumentParser(
        prog="htlnet", description="Train, export and serve multi-task models for hybrid targets."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = _add(commands, "demo", _demo, "rows -> trained model -> export -> server -> ranked candidates")
    demo.add_argument("--data", metavar="DIR", help="a folder in the layout of KuaiRand-Pure; default: generated rows")
    demo.add_argument("--output", metavar="RUN", default="runs/demo", help="run folder, replaced (%(default)s)")
    demo.add_argument("--models", metavar="MODELS", default="models", help="where to export (%(default)s)")

    inspect = _add(commands, "inspect", _inspect, "look at a table before training, and draft its schema")
    inspect.add_argument("data", metavar="DATA", help="a file, a folder or a glob of CSV, Parquet or TFRecord files")
    inspect.add_argument("--schema", metavar="S", help="a schema file to hold the table against")
    inspect.add_argument("--targets", metavar="A,B,C", help="the funnel in order, the core last, if there is no schema")
    inspect.add_argument("--timestamp", metavar="COLUMN", help="when a row was logged, if there is no schema")
    inspect.add_argument("--write_schema", metavar="S", help="write a first schema to this file")
    inspect.add_argument("--write_config", metavar="C", help="also a configuration for `htlnet train` with that schema")
    inspect.add_argument("--overwrite", action="store_true", help="replace existing files")
    inspect.add_argument("--json", action="store_true", help="one JSON document on standard output")

    _add(commands, "datasets", _datasets, "published data sets with a loader: where to get them, licence, citation")

    train = _add(commands, "train", _train, "train a model and write a run folder")
    _add_config(train)
    train.add_argument("--output", metavar="RUN", required=True, help="run folder to write")
    train.add_argument(
        "--importance",
        type=int,
        metavar="ROWS",
        help="test rows on which the page's importance of the columns is measured; 0: it is left out",
    )
    train.add_argument("--mlflow", metavar="URI", help="also log the run to MLflow, in place of training.mlflow")

    update = _add(commands, "update", _update, "teach a run the rows of a further day, and write a run folder")
    update.add_argument("run", metavar="RUN", help="a run folder, of `htlnet train` or of this command")
    update.add_argument("--data", metavar="DAY", required=True, help="the day, as the run's loader reads its data")
    update.add_argument("--output", metavar="RUN2", required=True, help="run folder to write, another one")
    _add_set(update, "FIELD=VALUE", "in place of a setting of the run's `update:`, half_life=7")
    update.add_argument("--overwrite", action="store_true", help="replace an existing output folder")
    update.add_argument(
        "--importance",
        type=int,
        default=0,
        metavar="ROWS",
        help="rows on which the page's importance of the columns is measured; 0: it is left out (%(default)s)",
    )
    update.add_argument("--json", action="store_true", help="one JSON document on standard output")

    compare = _add(commands, "compare", _compare, "the paper's protocol: models over seeds, tables, tests, pictures")
    _add_config(compare)
    compare.add_argument(
        "--models",
        metavar="A,B",
        help="models, model+method, model@objective, htlnet-part, 'model x3', references (default: all models)",
    )
    compare.add_argument("--methods", metavar="A,B", help="also each model with these optimisation methods; or: all")
    compare.add_argument(
        "--objectives", metavar="A,B", help="also each model with these objectives of the core; or: all"
    )
    compare.add_argument("--ablations", action="store_true", help="also HTLNet's ablations, the paper's Tables 3 to 5")
    compare.add_argument(
        "--references", action="store_true", help="also what one would take instead: LightGBM and linear models"
    )
    compare.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds 0 .. N-1 (%(default)s)")
    compare.add_argument("--tune", type=int, default=0, metavar="N", help="first N trials per variant on validation")
    compare.add_argument("--jobs", type=int, default=1, metavar="N", help="runs side by side (%(default)s)")
    compare.add_argument("--output", metavar="DIR", required=True, help="folder; runs that are there are not repeated")

    evaluate = _add(commands, "evaluate", _evaluate, "exact metrics of a run on its test rows")
    evaluate.add_argument("run", metavar="RUN")
    evaluate.add_argument("--data", metavar="PATH", help="in place of the configuration's data path")
    evaluate.add_argument("--json", action="store_true", help="one JSON document on standard output")

    drift = _add(
        commands, "drift", _drift, "whether later rows still look like a run's; exit code 1 beyond the thresholds"
    )
    drift.add_argument("run", metavar="RUN")
    drift.add_argument("--data", metavar="NEW", required=True, help="later rows; their labels may be absent")
    _add_set(drift, "drift.FIELD=VALUE", "in place of a threshold of the run's configuration, drift.psi=0.1")
    drift.add_argument("--json", action="store_true", help="one JSON document on standard output")

    verify = _add(
        commands, "verify", _verify, "whether a run folder or a version is as it was written; exit code 1 if it is not"
    )
    verify.add_argument("folder", metavar="RUN|VERSION", help="a run folder, or MODELS/NAME/VERSION")
    verify.add_argument("--accept", metavar="FILES", help="files that you have changed yourself, with commas between")
    verify.add_argument("--json", action="store_true", help="one JSON document on standard output")

    gate = _add(
        commands, "gate", _gate, "whether a run is as good as another on the same rows; exit code 1 if it is worse"
    )
    gate.add_argument("new", metavar="NEW", help="the run folder of the new model")
    gate.add_argument("--against", metavar="STABLE", required=True, help="the run folder of the model in service")
    gate.add_argument("--data", metavar="ROWS", required=True, help="rows with labels, all of which are judged")
    _add_gate_settings(gate)
    gate.add_argument("--json", action="store_true", help="one JSON document on standard output")

    report = _add(commands, "report", _report, "one self-contained HTML page about a run or a comparison")
    report.add_argument("folder", metavar="RUN", help="a run folder, or the folder of a comparison")
    report.add_argument("--output", metavar="F", help="the HTML file; default: report.html in the folder")
    report.add_argument("--data", metavar="PATH", help="of a run: judge it anew, on the test rows of these data")
    report.add_argument(
        "--importance",
        type=int,
        metavar="ROWS",
        help="of a run: judge it anew, with importance of the columns on so many test rows; 0: leave importance out",
    )
    report.add_argument("--servable", metavar="VERSION", help="of a run: a version exported from it, models/htlnet/3")

    search = _add(
        commands, "rank-search", _rank_search, "weights of a ranking: the most of the core at a bound on clicks"
    )
    search.add_argument("run", metavar="RUN")
    search.add_argument("--data", metavar="PATH", help="in place of the configuration's data path")
    search.add_argument(
        "--max_lost_clicks",
        type=float,
        default=0.02,
        metavar="SHARE",
        help="of the clicks that ranking by click alone has in the top k, at most so many fewer (%(default)s)",
    )
    search.add_argument("--k", type=int, default=10, help="how many of a user's rows are looked at (%(default)s)")
    search.add_argument("--output", metavar="DIR", help="where table and picture go; default: RUN")
    search.add_argument("--json", action="store_true", help="one JSON document on standard output")

    export = _add(commands, "export", _export, "export a run as the next version of a model")
    export.add_argument("run", metavar="RUN")
    export.add_argument("--to", metavar="MODELS", required=True, help="folder with one folder per model")
    export.add_argument("--name", default="htlnet", help="the model's name (%(default)s)")
    export.add_argument(
        "--keep",
        type=int,
        metavar="N",
        help="remove old versions; kept are the newest N, those with a label, and what rollback goes back to",
    )
    export.add_argument(
        "--format",
        choices=("servable", "onnx"),
        default="servable",
        help="servable: for TensorFlow Serving; onnx: into MODELS/NAME/onnx, for OnnxScorer (%(default)s)",
    )
    export.add_argument("--once", action="store_true", help="nothing, if this very run has been exported there before")

    versions = _add(commands, "versions", _versions, "list the versions of the models with their metrics and labels")
    versions.add_argument("models", metavar="MODELS", help="folder with one folder per model")
    versions.add_argument("--json", action="store_true", help="one JSON document on standard output")

    promote = _add(commands, "promote", _promote, "put a label on a version, in models.config and on a running server")
    promote.add_argument("models", metavar="MODELS", help="folder with one folder per model")
    promote.add_argument("name", metavar="NAME", help="the model's name")
    promote.add_argument("version", metavar="VERSION", type=int)
    promote.add_argument(
        "--gate",
        metavar="ROWS",
        help="only if on these rows it is no worse than the version that has the label; else exit code 1",
    )
    _add_gate_settings(promote)
    promote.add_argument("--base_path_prefix", default="/models", help="where the server has MODELS (%(default)s)")
    _add_label(promote)

    rollback = _add(commands, "rollback", _rollback, "put a label back on the version that had it before")
    rollback.add_argument("models", metavar="MODELS", help="folder with one folder per model")
    rollback.add_argument("name", metavar="NAME", help="the model's name")
    _add_label(rollback)

    serve = _add(commands, "serve", _serve, "answer TensorFlow Serving's APIs for exported models (laptops, tests)")
    serve.add_argument("models", metavar="MODELS", help="folder with one folder per model")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument("--rest_port", type=int, default=8501, metavar="PORT", help="0: any free one (%(default)s)")
    serve.add_argument("--grpc_port", type=int, default=8500, metavar="PORT", help="0: any free one (%(default)s)")
    serve.add_argument("--model_config_file", metavar="F", help="models.config, as for TensorFlow Serving")
    serve.add_argument("--model_config_file_poll_wait_seconds", type=float, default=0.0, metavar="S", help="0: never")
    serve.add_argument("--request_timeout", type=float, default=30.0, metavar="S", help="seconds (%(default)s)")

    score = _add(commands, "score", _score, "score the rows of files, by an exported version or on a server")
    by = score.add_mutually_exclusive_group(required=True)
    by.add_argument("--model", metavar="MODELS/NAME[/V]", help="score here by an exported version; default: the latest")
    by.add_argument("--url", help="ask a server: http://localhost:8501, or grpc://localhost:8500")
    score.add_argument("--input", metavar="PATH", required=True, help="a CSV, Parquet or TFRecord file, folder or glob")
    score.add_argument("--keep", metavar="A,B", help="columns of PATH to write before the scores")
    score.add_argument(
        "--output", metavar="OUT", help="model: a folder, for a file per file of PATH; url: a file, or standard output"
    )
    here = score.add_argument_group("with --model")
    here.add_argument("--engine", choices=["local", "spark"], help="this process, or Apache Spark (default: local)")
    here.add_argument("--master", metavar="M", help="of Spark, such as local[2] (default: what Spark is configured to)")
    here.add_argument("--rank", type=int, metavar="K", help="rows are users: the K best of --candidates for each")
    here.add_argument("--candidates", metavar="PATH", help="rank: the table of the items, as --input that of the users")
    here.add_argument("--by", metavar="SCORE", help="rank: what to sort by (default: the score of the model's ranking)")
    here.add_argument("--jobs", type=int, metavar="N", help="local: files at a time (default: as many as cores)")
    here.add_argument("--on_bad_rows", choices=["error", "skip"], help="rows that break the schema (default: error)")
    here.add_argument("--overwrite", action="store_true", help="remove the scores that OUT has before")
    there = score.add_argument_group("with --url")
    _add_server_model(there)
    there.add_argument("--schema", metavar="S", help="schema file or run folder of the training: PATH is read by it")

    parity = _add(commands, "parity", _parity, "compare a server's scores with a run's own; exit code 1 if they differ")
    parity.add_argument("run", metavar="RUN")
    _add_server(parity)
    parity.add_argument("--data", metavar="PATH", help="rows to score; default: the run's held-out rows")
    parity.add_argument("--tolerance", type=float, default=1e-5, help="largest difference allowed (%(default)s)")
    parity.add_argument("--limit", type=int, metavar="N", help="only the first N rows")
    parity.add_argument("--json", action="store_true", help="one JSON document on standard output")

    logs = _add(commands, "compare-logs", _compare_logs, "what two versions answered, as a client's shadow logged it")
    logs.add_argument("logs", metavar="LOG", nargs="+", help="a folder of shadow_log, or a file in it")
    logs.add_argument("--labels", metavar="ROWS", help="files with the logged keys and labels named as the scores")
    logs.add_argument("--json", action="store_true", help="one JSON document on standard output")

    bench = _add(commands, "bench", _bench, "measure, as ratios of interleaved timings")
    bench.add_argument(
        "what",
        choices=["all", *sorted(_BENCHES)],
        help="the step, the input pipelines, serving, several workers, scoring of files, versions that come and go "
        "under load, memory, how long a start takes; or all, with exit code 1 if a ratio is worse than committed",
    )
    bench.add_argument(
        "--rows", type=int, default=1_000_000, metavar="N", help="score: rows of the files (%(default)s)"
    )
    bench.add_argument("--json", action="store_true", help="one JSON document on standard output")
    bench.add_argument(
        "--rounds",
        type=int,
        metavar="N",
        help="turns of each case (train: 15, data: 7, scale: 3, score: 3, serve: 30, switch: 10, memory: 50, start: 3)",
    )
    bench.add_argument("--url", help="serve, switch: the REST port of a server that is there, http://host:port")
    bench.add_argument("--grpc", metavar="TARGET", help="serve, switch: the gRPC port of that server, host:port")
    bench.add_argument("--name", default="htlnet", help="serve: the model's name there (%(default)s)")
    bench.add_argument("--models", metavar="MODELS", help="switch: the folder that the server serves")
    bench.add_argument("--base_path_prefix", default="/models", help="switch: where it has MODELS (%(default)s)")
    bench.add_argument("--update", action="store_true", help="all: commit the ratios that are measured")
    return parser.parse_args(argv[1:])


def _add(
    commands: argparse._SubParsersAction, name: str, command: Callable[[argparse.Namespace], int | None], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    if name in _READ_WHAT_WAS_WRITTEN:
        parser.add_argument("--no_verify", action="store_true", help="use files whatever their checksums are")
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a YAML file, or the name of a shipped one: generated, ...")
    parser.add_argument("--data", metavar="PATH", help="in place of the configuration's data path")
    _add_set(parser, "FIELD=VALUE", "in place of a setting of the configuration, training.epochs=3")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output folder")


def _add_set(parser: argparse.ArgumentParser, metavar: str, text: str) -> None:
    parser.add_argument("--set", action="append", default=[], metavar=metavar, help=f"{text}; may be repeated")


def _add_gate_settings(parser: argparse.ArgumentParser) -> None:
    _add_set(parser, "gate.FIELD=VALUE", "in place of a setting of the gate, gate.margins.auc=0.01")


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", required=True, help="http://localhost:8501, or grpc://localhost:8500")
    _add_server_model(parser)


def _add_server_model(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--name", default="htlnet", help="the model's name (%(default)s)")
    parser.add_argument("--version", type=int, help="ask this version, not the latest")
    parser.add_argument("--label", help="ask the version with this label, not the latest")


def _add_label(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--label", default="stable", help="the label (%(default)s)")
    parser.add_argument(
        "--server", metavar="TARGET", help="host:port of a running server's gRPC port, to take it at once"
    )


def _demo(arguments: argparse.Namespace) -> None:
    _say("Starting TensorFlow ...")
    from htlnet_tf.demo import run_demo

    run_demo(data=arguments.data, output=arguments.output, models=arguments.models, command=_command(), write=_say)


def _inspect(arguments: argparse.Namespace) -> int:
    from htlnet_tf.inspection import inspect_path
    from htlnet_tf.inspection.files import require_new, write_config, write_schema

    if arguments.write_config and not arguments.write_schema:
        raise InputError("--write_config C names the schema file of --write_schema S: give both")
    for path in (arguments.write_schema, arguments.write_config):
        require_new(path, overwrite=arguments.overwrite)
    targets = _names(arguments.targets) or None
    inspection = inspect_path(
        arguments.data,
        schema=arguments.schema,
        targets=targets,
        timestamp=arguments.timestamp,
        write=_say_aside,
    )
    _say(json.dumps(inspection.to_dict(), indent=2) if arguments.json else inspection.to_text())
    # The report comes first: where no schema can be drafted, it says what is wrong.
    if arguments.write_schema:
        write_schema(inspection, arguments.write_schema)
        _say_aside(f"first schema written to {arguments.write_schema}: read it before you train")
    if arguments.write_config:
        write_config(inspection, arguments.write_config, arguments.write_schema)
        _say_aside(f"htlnet train {arguments.write_config} --output RUN trains with it")
    return 0 if inspection.ok else 1


def _datasets(arguments: argparse.Namespace) -> None:
    from htlnet_tf.data.published.catalogue import datasets_text

    _say(datasets_text())


def _train(arguments: argparse.Namespace) -> None:
    from htlnet_tf.runs.config import find_config
    from htlnet_tf.runs.training import train

    changes = [*arguments.set, *([f"training.mlflow={arguments.mlflow}"] if arguments.mlflow else [])]
    config = find_config(arguments.config, changes)
    run = train(
        config,
        arguments.output,
        data=arguments.data,
        overwrite=arguments.overwrite,
        importance_rows=arguments.importance,
        command=_command(),
        write=_say,
    )
    if run is None:
        return
    _say(f"test: {run.report}\n\nwritten to {arguments.output}")


def _update(arguments: argparse.Namespace) -> None:
    from htlnet_tf.runs.folder import load_config
    from htlnet_tf.runs.update.updating import update

    changes = [f"update.{change}" for change in arguments.set]
    result = update(
        arguments.run,
        arguments.data,
        arguments.output,
        settings=load_config(arguments.run, changes).update,
        overwrite=arguments.overwrite,
        importance_rows=arguments.importance,
        command=_command(),
        write=_say_aside if arguments.json else _say,
    )
    if arguments.json:
        _say(json.dumps(result.to_dict(), indent=2, allow_nan=False))
    else:
        _say(f"the day's last part: {result.run.report}\n\nwritten to {arguments.output}")


def _compare(arguments: argparse.Namespace) -> None:
    from htlnet_tf.comparison import METHODS, compare
    from htlnet_tf.models import MODELS
    from htlnet_tf.objectives import OBJECTIVES
    from htlnet_tf.runs.config import find_config

    methods = list(METHODS) if arguments.methods == "all" else _names(arguments.methods)
    objectives = list(OBJECTIVES) if arguments.objectives == "all" else _names(arguments.objectives)
    comparison = compare(
        find_config(arguments.config, arguments.set),
        list(MODELS) if arguments.models is None else _names(arguments.models),
        range(arguments.seeds),
        arguments.output,
        methods=methods,
        objectives=objectives,
        ablations=arguments.ablations,
        references=arguments.references,
        tune=arguments.tune,
        jobs=arguments.jobs,
        data=arguments.data,
        overwrite=arguments.overwrite,
        command=_command(),
        write=_say,
    )
    _say(f"\n{comparison.text}\n\nwritten to {arguments.output}")


def _names(given: str | None) -> list[str]:
    return [name.strip() for name in (given or "").split(",") if name.strip()]


def _evaluate(arguments: argparse.Namespace) -> None:
    from htlnet_tf.judging.evaluation import evaluate
    from htlnet_tf.runs.folder import load_model
    from htlnet_tf.runs.training import load_test_rows

    _, model = load_model(arguments.run)
    rows = load_test_rows(arguments.run, arguments.data)
    report = evaluate(model, rows)
    _say(json.dumps(report.to_dict(), indent=2, allow_nan=False) if arguments.json else str(report))
    skipped = getattr(rows, "bad_rows", None)
    if skipped:
        _say_aside(f"{len(skipped):,} bad rows were skipped; the first: {skipped.first()}")


def _drift(arguments: argparse.Namespace) -> int:
    from htlnet_tf.runs.drift import drift

    report = drift(arguments.run, arguments.data, changes=arguments.set)
    _say(json.dumps(report.to_dict(), indent=2, allow_nan=False) if arguments.json else report.to_text())
    return 0 if report.ok else 1


def _verify(arguments: argparse.Namespace) -> int:
    from htlnet_tf.files import local_path
    from htlnet_tf.manifest import accept, differences

    if arguments.accept is not None:
        accept(local_path(arguments.folder), arguments.accept.split(","))
    found = differences(arguments.folder)
    if arguments.json:
        print(json.dumps({"folder": arguments.folder, "differences": {d.name: d.what for d in found}}, indent=2))
    elif found:
        print("\n".join(f"{d.name}: {d.what}" for d in found))
    else:
        print(f"'{arguments.folder}' is as it was written")
    return 1 if found else 0


def _gate(arguments: argparse.Namespace) -> int:
    from htlnet_tf.runs.gate import gate

    report = gate(arguments.new, arguments.against, arguments.data, changes=arguments.set)
    _say(json.dumps(report.to_dict(), indent=2, allow_nan=False) if arguments.json else report.to_text())
    return 0 if report.ok else 1


def _report(arguments: argparse.Namespace) -> None:
    from htlnet_tf.reporting import report

    path = report(
        arguments.folder,
        arguments.output,
        data=arguments.data,
        importance_rows=arguments.importance,
        servable=arguments.servable,
        write=_say_aside,
    )
    _say(f"written to {path}")


def _rank_search(arguments: argparse.Namespace) -> None:
    from htlnet_tf.runs.rank_search import rank_search

    result = rank_search(
        arguments.run,
        data=arguments.data,
        max_lost_clicks=arguments.max_lost_clicks,
        k=arguments.k,
        output=arguments.output,
        write=_say_aside,
    )
    _say(json.dumps(result.to_dict(), indent=2, allow_nan=False) if arguments.json else result.to_text())


def _export(arguments: argparse.Namespace) -> None:
    from htlnet_tf.export import model_directory
    from htlnet_tf.runs.exporting import export_run
    from htlnet_tf.runs.mlflow_tracking import register_servable

    if arguments.keep is not None and arguments.keep < 1:
        raise InputError(f"--keep must be at least 1, received {arguments.keep}")
    directory = model_directory(arguments.to, arguments.name)
    version = export_run(
        arguments.run,
        directory,
        format=arguments.format,
        keep=arguments.keep,
        measure_latency=True,
        once=arguments.once,
        write=_say_aside,
    )
    _say(
        f"{version.path}: {version.verified_rows} rows score as in training "
        f"(largest difference {version.largest_difference:.1e})"
    )
    _say(version.report.to_text())
    for removed in version.removed:
        _say(f"removed {removed}")
    if arguments.format == "onnx":
        return
    registered = register_servable(version.path, arguments.name, arguments.run)
    if registered is not None:
        _say(f"registered in MLflow as version {registered} of {arguments.name}")


def _versions(arguments: argparse.Namespace) -> None:
    from htlnet_tf.export import list_versions
    from htlnet_tf.export.versions import to_text

    versions = list_versions(arguments.models)
    _say(json.dumps([v.to_dict() for v in versions], indent=2) if arguments.json else to_text(versions))


def _promote(arguments: argparse.Namespace) -> int:
    from htlnet_tf.export import gate_version, promote
    from htlnet_tf.runs.gate import gate_settings

    if arguments.gate is not None:
        report = gate_version(
            arguments.models,
            arguments.name,
            arguments.version,
            arguments.gate,
            label=arguments.label,
            settings=gate_settings(arguments.set),
        )
        _say(f"nothing is called {arguments.label} yet" if report is None else report.to_text())
        if report is not None and not report.ok:
            return 1
    change = promote(
        arguments.models,
        arguments.name,
        arguments.version,
        label=arguments.label,
        server=arguments.server,
        base_path_prefix=arguments.base_path_prefix,
    )
    _say(change.to_text())
    return 0


def _rollback(arguments: argparse.Namespace) -> None:
    from htlnet_tf.export import rollback

    _say(rollback(arguments.models, arguments.name, label=arguments.label, server=arguments.server).to_text())


def _serve(arguments: argparse.Namespace) -> None:
    from htlnet_tf.serving import EmbeddedServer

    EmbeddedServer(
        arguments.models,
        host=arguments.host,
        port=arguments.rest_port,
        grpc_port=arguments.grpc_port,
        model_config_file=arguments.model_config_file,
        model_config_file_poll_wait_seconds=arguments.model_config_file_poll_wait_seconds,
        request_timeout_seconds=arguments.request_timeout,
    ).serve_forever(on_ready=_say)


def _score(arguments: argparse.Namespace) -> None:
    if arguments.url is None:
        _refuse(arguments, "--model", "--url", schema=None, version=None, label=None, name="htlnet")
        if not arguments.output:
            raise InputError("--model writes a folder of scores: name it, --output DIR")
        if arguments.rank is None:
            _refuse(arguments, "none", "--rank", candidates=None, by=None)
        elif arguments.candidates is None:
            raise InputError("--rank K ranks the rows of --candidates PATH: name their table")
        if arguments.engine == "spark":
            _refuse(arguments, "--engine spark", "--engine local", jobs=None, rank=None)
            _score_on_spark(arguments)
        else:
            _refuse(arguments, "--engine local", "--engine spark", master=None)
            _score_here(arguments)
    else:
        others = {"engine": None, "master": None, "rank": None, "candidates": None, "by": None, "jobs": None}
        _refuse(arguments, "--url", "--model", **others, on_bad_rows=None, overwrite=False)
        _score_on_server(arguments)


def _refuse(arguments: argparse.Namespace, given: str, other: str, **defaults: Any) -> None:
    """Refuses flags of one way to do a thing where another was chosen."""
    for name, default in defaults.items():
        if getattr(arguments, name) != default:
            raise InputError(f"--{name} goes with {other}; received it with {given}")


def _score_here(arguments: argparse.Namespace) -> None:
    from htlnet_tf.serving.local import score_files
    from htlnet_tf.serving.ranked_files import rank_files

    options: dict[str, Any] = {
        "keep": _names(arguments.keep),
        "jobs": arguments.jobs,
        "on_bad_rows": arguments.on_bad_rows or "error",
        "overwrite": arguments.overwrite,
        "write": _say_aside,
    }
    model, rows, output = arguments.model, arguments.input, arguments.output
    if arguments.rank is None:
        done = score_files(model, rows, output, **options)
    else:
        done = rank_files(model, rows, arguments.candidates, output, arguments.rank, by=arguments.by, **options)
    _say_aside(f"{done.to_text()}\nwritten to {arguments.output}")


def _score_on_spark(arguments: argparse.Namespace) -> None:
    from htlnet_tf.serving.spark_files import score_on_spark

    rows = score_on_spark(
        arguments.model,
        arguments.input,
        arguments.output,
        keep=_names(arguments.keep),
        master=arguments.master,
        on_bad_rows=arguments.on_bad_rows or "error",
        overwrite=arguments.overwrite,
        write=_say_aside,
    )
    _say_aside(f"{rows:,} rows scored to {arguments.output}")


def _score_on_server(arguments: argparse.Namespace) -> None:
    from htlnet_tf.serving.clients.scoring import score_file

    rows = score_file(
        arguments.url,
        arguments.name,
        arguments.input,
        arguments.output,
        version=arguments.version,
        label=arguments.label,
        schema=arguments.schema,
        keep=_names(arguments.keep),
        write=_say_aside,
    )
    if arguments.output:
        _say_aside(f"{rows:,} rows scored to {arguments.output}")


def _parity(arguments: argparse.Namespace) -> int:
    from htlnet_tf.parity import check_parity

    report = check_parity(
        arguments.url,
        arguments.data,
        arguments.run,
        model_name=arguments.name,
        version=arguments.version,
        label=arguments.label,
        tolerance=arguments.tolerance,
        limit=arguments.limit,
    )
    _say(json.dumps(report.to_dict(), indent=2) if arguments.json else report.to_text())
    return 0 if report.ok else 1


def _compare_logs(arguments: argparse.Namespace) -> None:
    from htlnet_tf.shadow_comparison import compare_logs

    comparison = compare_logs(arguments.logs, arguments.labels)
    _say(json.dumps(comparison.to_dict(), indent=2, allow_nan=False) if arguments.json else comparison.to_text())


def _bench(arguments: argparse.Namespace) -> int:
    what = arguments.what
    if arguments.rounds is not None and arguments.rounds < 1:
        raise InputError(f"--rounds must be at least 1, received {arguments.rounds}")
    if what != "all":
        _refuse(arguments, what, "all", update=False)
    if what != "switch":
        _refuse(arguments, what, "switch", models=None, base_path_prefix="/models")
    if what == "all":
        return _bench_all(arguments)
    result = _BENCHES[what](arguments)
    _say(json.dumps(result.to_dict(), indent=2) if arguments.json else result.to_text())
    return 0


def _bench_all(arguments: argparse.Namespace) -> int:
    from htlnet_tf.benchmarks.all_of_them import bench_all

    result = bench_all(rounds=arguments.rounds, update=arguments.update, write=_say_aside)
    color = sys.stdout.isatty()
    _say(json.dumps(result.to_dict(), indent=2) if arguments.json else result.to_text(color=color))
    return 0 if result.ok or (arguments.update and not result.failed) else 1


def _bench_train(arguments: argparse.Namespace) -> Any:
    from htlnet_tf.benchmarks.training import bench_training

    return bench_training(rounds=arguments.rounds or 15, write=_say_aside)


def _bench_data(arguments: argparse.Namespace) -> Any:
    from htlnet_tf.benchmarks.data import bench_data

    return bench_data(rounds=arguments.rounds or 7, write=_say_aside)


def _bench_serve(arguments: argparse.Namespace) -> Any:
    from htlnet_tf.benchmarks.serving import bench_serving

    name = arguments.name if arguments.url else None
    return bench_serving(
        url=arguments.url, grpc=arguments.grpc, model_name=name, rounds=arguments.rounds or 30, write=_say_aside
    )


def _bench_scale(arguments: argparse.Namespace) -> Any:
    from htlnet_tf.benchmarks.scale import bench_scale

    return bench_scale(rounds=arguments.rounds or 3, write=_say_aside)


def _bench_score(arguments: argparse.Namespace) -> Any:
    from htlnet_tf.benchmarks.scoring import bench_scoring

    if arguments.rows < 10_000:
        raise InputError(f"--rows must be at least 10000, received {arguments.rows}")
    return bench_scoring(rows=arguments.rows, rounds=arguments.rounds or 3, write=_say_aside)


def _bench_switch(arguments: argparse.Namespace) -> Any:
    from htlnet_tf.benchmarks.switch import ROUNDS, bench_switch

    return bench_switch(
        url=arguments.url,
        grpc=arguments.grpc,
        models_folder=arguments.models,
        base_path_prefix=arguments.base_path_prefix,
        rounds=arguments.rounds or ROUNDS,
        write=_say_aside,
    )


def _bench_memory(arguments: argparse.Namespace) -> Any:
    from htlnet_tf.benchmarks.memory import ROUNDS, bench_memory

    return bench_memory(rounds=arguments.rounds or ROUNDS, write=_say_aside)


def _bench_start(arguments: argparse.Namespace) -> Any:
    from htlnet_tf.benchmarks.start import ROUNDS, bench_start

    return bench_start(rounds=arguments.rounds or ROUNDS, write=_say_aside)


_BENCHES: dict[str, Callable[[argparse.Namespace], Any]] = {
    "train": _bench_train,
    "data": _bench_data,
    "serve": _bench_serve,
    "scale": _bench_scale,
    "score": _bench_score,
    "switch": _bench_switch,
    "memory": _bench_memory,
    "start": _bench_start,
}


def _command() -> str:
    """The command line as it would be typed again."""
    return shlex.join(["htlnet", *sys.argv[1:]])


def _say_aside(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _say(line: str) -> None:
    # Flushed line by line, so that progress is seen through a pipe and in a log file too.
    print(line, flush=True)
