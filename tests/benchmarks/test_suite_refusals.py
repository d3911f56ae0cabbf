"""Suites that are wrong: every one is refused with one message that says where, what and what instead."""

# ruff: noqa: E501  (messages stand in one piece, as they are read)

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipebench.benchmarks.suite import Suite, load_suite, template, validate
from recipebench.benchmarks.suite_file import read
from recipebench.errors import RequestError

HEAD = """\
name: t
data: [digits]
matrix:
  activation: [relu]
"""
LONG = "x" * 300
KEYS = (
    "Known: claims, data, description, device, endpoint, exclude, include, matrix, model, name, probes, "
    "protocol, reference, seeds, smallest_effect, time_to_target, track, tuning."
)
NAME = "expected 1 to 64 of a-z, 0-9, _ and -, a letter or digit first, got"
COUNT = "line 5: seeds: expected a count from 1 to 10,000 or a list of seeds, got"
LR = "line 5: matrix.optimizer[0].sgd.lr: optimizer sgd: lr: expected a number above 0, got"
DEVICE = "expected cpu, gpu, cpu:N or gpu:N with N from 1 to 9999, got"
SHARE = "expected a count of at least 1 or a fraction strictly between 0 and 1, got"
EPOCHS = "expected a whole number from 1 to 100,000, got"

BAD: dict[str, tuple[str, str]] = {
    # The whole.
    "empty": ("", "expected a mapping with name, data and matrix, got nothing (null)."),
    "a list": ("- name: t", "line 1: expected a mapping with name, data and matrix, got [{'name': 't'}]."),
    "a text": ("quick", "line 1: expected a mapping with name, data and matrix, got 'quick'."),
    "no data": ("name: t\nmatrix: {activation: [relu]}", "data: expected this key, got nothing."),
    "no name": ("data: digits\nmatrix: {activation: [relu]}", "name: expected this key, got nothing."),
    "no matrix": (
        "name: t\ndata: digits",
        "matrix: expected at least one factor, or cells listed under include",
    ),
    "empty matrix": (
        "name: t\ndata: digits\nmatrix: {}",
        "line 3: matrix: expected at least one factor, or cells",
    ),
    "null matrix": (
        "name: t\ndata: digits\nmatrix:",
        "line 3: matrix: expected at least one factor, or cells",
    ),
    "unknown key": (HEAD + "seed: 3", f"line 5: seed: Unknown key 'seed'. {KEYS} Did you mean 'seeds'?"),
    "misspelled key": (
        "nmae: t\ndata: digits\nmatrix: {activation: [relu]}",
        f"line 1: nmae: Unknown key 'nmae'. {KEYS} Did you mean 'name'?",
    ),
    "far key": (HEAD + "zzz: 3", f"line 5: zzz: Unknown key 'zzz'. {KEYS}"),
    "long key": (HEAD + f"{LONG}: 3", f"line 5: {LONG[:80]}…: Unknown key 'xxx"),
    "key with newline": (HEAD + '"a\\nb": 3', r"line 5: a\nb: Unknown key 'a\nb'."),
    "merge key": (HEAD + "<<: {seeds: 3}", "line 5: <<: Unknown key '<<'."),
    "duplicate key": (
        HEAD + "seeds: 1\nseeds: 2",
        "line 6: expected each key once, got 'seeds' again (first in line 5)",
    ),
    "duplicate factor": (
        HEAD + "  activation: [tanh]",
        "line 5: matrix: expected each key once, got 'activation' again (first in line 4).",
    ),
    "alias": (HEAD + "seeds: &s 3\ndevice: *s", "line 5: seeds: expected a value, got the anchor &s"),
    "alias bomb": (
        "a: &a [l, l]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
        "line 1: a: expected a value, got the anchor &a",
    ),
    "tag": (
        HEAD + "seeds: !!int '3'",
        "line 5: seeds: expected a plain value, got the tag tag:yaml.org,2002:int.",
    ),
    "python tag": (
        HEAD + "seeds: !!python/name:os.system",
        "got the tag tag:yaml.org,2002:python/name:os.system.",
    ),
    "two documents": (HEAD + "---\n" + HEAD, "line 5: expected one document, got a second one."),
    "NUL": (HEAD + "description: a\0b", "line 5: expected text, got control character U+0000."),
    "escaped NUL": (
        HEAD + 'description: "a\\0b"',
        "line 5: description: expected text, got control character U+0000.",
    ),
    "deep": (HEAD + "include: " + "[" * 1000, "levels of nesting, got more."),
    "large": (HEAD + "#" * 300_000, "expected at most 262,144 bytes, got more."),
    "broken": (HEAD + "seeds: [1", "not valid YAML: did not find expected ',' or ']'."),
    # Names.
    "path up": ("name: ../t\ndata: digits", f"line 1: name: {NAME} '../t'."),
    "path down": ("name: a/b\ndata: digits", f"line 1: name: {NAME} 'a/b'."),
    "absolute path": ("name: /etc/t\ndata: digits", f"line 1: name: {NAME} '/etc/t'."),
    "backslash": ("name: a\\b\ndata: digits", f"line 1: name: {NAME} 'a\\\\b'."),
    "dot": ("name: a.b\ndata: digits", f"line 1: name: {NAME} 'a.b'."),
    "capital": ("name: Mine\ndata: digits", f"line 1: name: {NAME} 'Mine'."),
    "empty name": ("name: ''\ndata: digits", f"line 1: name: {NAME} ''."),
    "newline in name": ('name: "t\\n"\ndata: digits', f"line 1: name: {NAME} 't\\n'."),
    "long name": (f"name: {LONG}\ndata: digits", f"line 1: name: {NAME} 'xxx"),
    "65 characters": (f"name: {LONG[:65]}\ndata: digits", f"line 1: name: {NAME} 'xxx"),
    "name is a number": ("name: 3\ndata: digits", f"line 1: name: {NAME} 3."),
    "name is null": ("name:\ndata: digits", f"line 1: name: {NAME} nothing (null)."),
    "description is a list": (
        HEAD + "description: [a]",
        "description: expected text of at most 10,000 characters",
    ),
    # Data and model.
    "no data sets": (
        "name: t\ndata: []\nmatrix: {activation: [relu]}",
        "line 2: data: expected at least one",
    ),
    "unknown data": (
        HEAD.replace("digits", "mnits"),
        "line 2: data[0]: Unknown data 'mnits'. Known are … the nearest: mnist, … Did you mean 'mnist'?",
    ),
    "data twice": (
        HEAD.replace("digits", "digits, digits"),
        "line 2: data[1]: expected each level once, got 'digits'",
    ),
    "data twice by default": (
        HEAD.replace("digits", "synthetic_regression, {synthetic_regression: {noise: 0.01}}"),
        "line 2: data[1]: expected each level once, got {'synthetic_regression': {'teacher': 'linear'",
    ),
    "data parameter": (
        HEAD.replace("digits", "{digits: {n: 3}}"),
        "line 2: data[0].digits.n: data digits: expected no hyper-parameters, got 'n'.",
    ),
    "teacher": (
        HEAD.replace("digits", "{synthetic_regression: {teacher: liner}}"),
        "Unknown value 'liner'. Known: linear, nonlinear. Did you mean 'linear'?",
    ),
    "unknown model": (
        HEAD + "model: mpl",
        "line 5: model: Unknown model 'mpl'. Known are … the nearest: mlp, mlp_scratch, … Did you mean 'mlp'?",
    ),
    "no hidden": (
        HEAD + "model: {mlp: {hidden: []}}",
        "line 5: model.mlp.hidden: hidden: expected 1 to 1,000 widths",
    ),
    "wide": (
        HEAD + "model: {mlp: {hidden: [1000000]}}",
        "expected 1 to 1,000 widths of at most 100,000 units",
    ),
    "hidden is a number": (
        HEAD + "model: {mlp: {hidden: 64}}",
        "line 5: model.mlp.hidden: model mlp: hidden: expected a list of positive whole numbers, got 64.",
    ),
    "hidden of booleans": (HEAD + "model: {mlp: {hidden: [true]}}", "positive whole numbers, got [True]."),
    "hidden of zero": (HEAD + "model: {mlp: {hidden: [0]}}", "positive whole numbers, got [0]."),
    "model twice": (HEAD + "  model: [mlp]\nmodel: mlp", "line 6: model: expected model in one place"),
    "task": (
        HEAD + "model: linear_regression",
        "line 5: model: model linear_regression is for regression, but data digits is classification; "
        "exclude {model: linear_regression, data: digits}.",
    ),
    "task in the matrix": (
        HEAD + "  model:\n  - mlp\n  - linear_regression",
        "line 5: matrix.model: model linear_regression is for regression, but data digits is classification",
    ),
    # Factors and levels.
    "matrix is a list": (
        "name: t\ndata: digits\nmatrix: [relu]",
        "line 3: matrix: expected a mapping of factors",
    ),
    "unknown factor": (
        HEAD + "  optimiser: [sgd]",
        "line 5: matrix.optimiser: Unknown factor 'optimiser'. Known: activation, augmentation, batch_size, … "
        "Did you mean 'optimizer'?",
    ),
    "data in the matrix": (HEAD + "  data: [digits]", "The key data stands outside of the matrix."),
    "empty factor": (
        HEAD + "  optimizer: []",
        "line 5: matrix.optimizer: expected at least one, got an empty list.",
    ),
    "factor is a name": (
        HEAD + "  optimizer: sgd",
        "line 5: matrix.optimizer: expected a list, got 'sgd'; write [...]",
    ),
    "factor is a mapping": (
        HEAD + "  optimizer: {sgd: {}}",
        "matrix.optimizer: expected a list, got {'sgd': {}}",
    ),
    "factor is null": (
        HEAD + "  optimizer:",
        "line 5: matrix.optimizer: expected a list, got nothing (null)",
    ),
    "unknown level": (
        HEAD + "  optimizer:\n  - sgd\n  - adm",
        "line 7: matrix.optimizer[1]: Unknown optimizer 'adm'. Known: adagrad, adam, adamw, … "
        "Did you mean 'adam'?",
    ),
    "long level": (HEAD + f"  optimizer: [{LONG}]", "line 5: matrix.optimizer[0]: Unknown optimizer 'xxx"),
    "no for none": (
        HEAD + "  regularizer: [no]",
        "line 5: matrix.regularizer[0]: Unknown regularizer 'no'. Known: batch_norm, … Did you mean 'none'?",
    ),
    "null for none": (
        HEAD + "  regularizer: [null]",
        "expected a regularizer, got nothing (null); known: none, l1",
    ),
    "level is a number": (
        HEAD + "  optimizer: [3]",
        "line 5: matrix.optimizer[0]: optimizer: expected a name or one name with its hyper-parameters, got 3.",
    ),
    "level is true": (
        HEAD + "  optimizer: [true]",
        "a name or one name with its hyper-parameters, got True.",
    ),
    "level is a list": (
        HEAD + "  optimizer: [[sgd]]",
        "a name or one name with its hyper-parameters, got ['sgd'].",
    ),
    "two levels in one": (
        HEAD + "  optimizer: [{sgd: {}, adam: {}}]",
        "a name or one name with its hyper-parameters",
    ),
    "level twice": (
        HEAD + "  optimizer: [sgd, sgd]",
        "matrix.optimizer[1]: expected each level once, got {'sgd'",
    ),
    "level twice by default": (
        HEAD + "  optimizer: [sgd, {sgd: {lr: 1e-1}}]",
        "line 5: matrix.optimizer[1]: expected each level once, got {'sgd': {'lr': 0.1}} again.",
    ),
    # Hyper-parameters.
    "unknown hyper-parameter": (
        HEAD + "  optimizer: [{adam: {\n    lr: 1,\n    beta: 1}}]",
        "line 7: matrix.optimizer[0].adam.beta: optimizer adam: Unknown hyper-parameter 'beta'. "
        "Known: beta1, beta2, eps, lr. Did you mean 'beta2'?",
    ),
    "value instead of mapping": (
        HEAD + "  optimizer: [{sgd: 0.1}]",
        "line 5: matrix.optimizer[0]: optimizer sgd: expected hyper-parameters as a mapping, got 0.1.",
    ),
    "negative": (HEAD + "  optimizer: [{sgd: {lr: -1}}]", f"{LR} -1.0."),
    "zero": (HEAD + "  optimizer: [{sgd: {lr: 0}}]", f"{LR} 0.0."),
    "NaN": (HEAD + "  optimizer: [{sgd: {lr: .nan}}]", f"{LR} nan."),
    "infinity": (HEAD + "  optimizer: [{sgd: {lr: .inf}}]", f"{LR} inf."),
    "overflow": (HEAD + "  optimizer: [{sgd: {lr: 1e999}}]", f"{LR} inf."),
    "boolean": (HEAD + "  optimizer: [{sgd: {lr: true}}]", f"{LR} True."),
    "text": (HEAD + "  optimizer: [{sgd: {lr: '0.1'}}]", f"{LR} '0.1'."),
    "null": (HEAD + "  optimizer: [{sgd: {lr: }}]", f"{LR} None."),
    "list": (HEAD + "  optimizer: [{sgd: {lr: [0.1, 0.2]}}]", f"{LR} [0.1, 0.2]."),
    "beta of 1": (
        HEAD + "  optimizer: [{adam: {beta1: 1}}]",
        "expected a number between 0 and 0.99999, got 1.0.",
    ),
    "p of 1": (HEAD + "  regularizer: [{dropout: {p: 1}}]", "expected a number between 0 and 0.99, got 1.0."),
    "one piece": (
        HEAD + "  activation.pieces: [2]",
        "line 5: matrix.activation.pieces: no planned activation has it",
    ),
    "float for int": (
        HEAD.replace("relu", "{maxout: {pieces: 2.0}}"),
        "activation maxout: pieces: expected a whole number between 2 and 64, got 2.0.",
    ),
    "boolean for int": (
        HEAD.replace("relu", "{maxout: {pieces: true}}"),
        "activation maxout: pieces: expected a whole number between 2 and 64, got True.",
    ),
    "huge int": (
        HEAD.replace("relu", "{maxout: {pieces: 99999999999999999999}}"),
        "line 4: matrix.activation[0].maxout.pieces: expected a whole number of at most 63 bits",
    ),
    "unknown factor of a hyper-parameter": (
        HEAD + "  optimiser.lr: [1]",
        "line 5: matrix.optimiser.lr: Unknown factor 'optimiser.lr'.",
    ),
    "unknown crossed hyper-parameter": (
        HEAD + "  optimizer.rate: [1]",
        "line 5: matrix.optimizer.rate: Unknown hyper-parameter of optimizer 'rate'. Known: alpha, beta1, beta2",
    ),
    "idle crossed hyper-parameter": (
        HEAD + "  regularizer: [none, l1]\n  regularizer.p: [0.1]",
        "line 6: matrix.regularizer.p: no planned regularizer has it: none, l1.",
    ),
    "crossed and given": (
        HEAD + "  optimizer: [{sgd: {lr: 1}}]\n  optimizer.lr: [0.1]",
        "line 6: matrix.optimizer.lr: expected lr in one place, but optimizer sgd gives it too.",
    ),
    "crossed out of range": (
        HEAD + "  optimizer.lr: [0.1, -1]",
        "line 5: matrix.optimizer.lr[1]: optimizer sgd: lr: expected a number above 0, got -1.0.",
    ),
    "crossed widths": (
        HEAD + "  model.hidden: [64]",
        "line 5: matrix.model.hidden[0]: model mlp: hidden: expected a list of positive whole numbers, got 64.",
    ),
    "crossed and given widths": (
        HEAD + "  model.hidden: [[64]]\nmodel: {mlp: {hidden: [32]}}",
        "line 5: matrix.model.hidden: expected hidden in one place, but model mlp gives it too.",
    ),
    "too many": (
        HEAD + "".join(f"  {a}: {[i + 1 for i in range(400)]}\n" for a in ("batch_size", "epochs")),
        "line 3: matrix: expected at most 100,000 combinations, got more.",
    ),
    # Seeds, device, protocol.
    "no seeds": (HEAD + "seeds: 0", f"{COUNT} 0."),
    "negative seeds": (HEAD + "seeds: -1", f"{COUNT} -1."),
    "boolean seeds": (HEAD + "seeds: true", f"{COUNT} true."),
    "float seeds": (HEAD + "seeds: 1e3", f"{COUNT} 1000.0."),
    "text seeds": (HEAD + "seeds: five", f"{COUNT} 'five'."),
    "null seeds": (HEAD + "seeds:", f"{COUNT} nothing (null)."),
    "too many seeds": (HEAD + "seeds: 1000000000", f"{COUNT} 1000000000."),
    "huge seeds": (HEAD + f"seeds: {'9' * 30}", "line 5: seeds: expected a whole number of at most 63 bits"),
    "digits of seeds": (HEAD + f"seeds: {'9' * 300}", "line 5: seeds: expected a number, got 300 digits."),
    "empty seeds": (HEAD + "seeds: []", "line 5: seeds: expected 1 to 10,000 seeds, got 0."),
    "seed twice": (
        HEAD + "seeds:\n- 0\n- 1\n- 0",
        "line 8: seeds[2]: expected each level once, got 0 again.",
    ),
    "negative seed": (
        HEAD + "seeds: [-1]",
        "line 5: seeds[0]: expected a seed from 0 to 4,294,967,295, got -1.",
    ),
    "boolean seed": (
        HEAD + "seeds: [0, true]",
        "line 5: seeds[1]: expected a seed from 0 to 4,294,967,295, got true.",
    ),
    "unknown device": (HEAD + "device: cuda", f"line 5: device: {DEVICE} 'cuda'."),
    "numbers of graphics processors": (
        HEAD + "protocol: {precision: tf32}",
        "line 5: protocol.precision: expected tf32 with device: gpu only, got it with cpu.",
    ),
    "numbers of graphics processors as a level": (
        HEAD + "include: [{precision: [32-true, bf16-mixed]}]",
        "expected bf16-mixed with device: gpu only, got it with cpu.",
    ),
    "numbers that nobody knows": (
        HEAD + "protocol: {precision: 16-true}",
        "line 5: protocol.precision: Unknown precision '16-true'. Known: 32-true, 64-true, bf16-mixed, tf32.",
    ),
    "numbers for a model that has its own": (
        HEAD + "include: [{data: gates, model: perceptron, precision: 64-true}]",
        "precision 64-true is for networks trained by gradient descent, not for model perceptron",
    ),
    "zero devices": (HEAD + "device: gpu:0", f"line 5: device: {DEVICE} 'gpu:0'."),
    "device twice": (
        HEAD + "device: [cpu, cpu:1]",
        "line 5: device[1]: expected each level once, got 'cpu' again.",
    ),
    "empty device": (HEAD + "device: []", "line 5: device: expected at least one device, got an empty list."),
    "device is a number": (HEAD + "device: 0", f"line 5: device: {DEVICE} 0."),
    "protocol is a number": (HEAD + "protocol: 3", "line 5: protocol: expected a mapping, got 3."),
    "unknown protocol key": (
        HEAD + "protocol: {epoch: 3}",
        "line 5: protocol.epoch: Unknown key 'epoch'. Known: batch_size, epochs, … Did you mean 'epochs'?",
    ),
    "no epochs": (HEAD + "protocol: {epochs: 0}", f"line 5: protocol.epochs: {EPOCHS} 0."),
    "float epochs": (HEAD + "protocol: {epochs: 2.0}", f"line 5: protocol.epochs: {EPOCHS} 2.0."),
    "boolean epochs": (HEAD + "protocol: {epochs: true}", f"line 5: protocol.epochs: {EPOCHS} true."),
    "negative batch": (
        HEAD + "protocol: {batch_size: -1}",
        "protocol.batch_size: expected a whole number from 1 to",
    ),
    "inputs": (HEAD + "protocol: {inputs: [unit]}", "Unknown inputs ['unit']. Known: standardized, unit."),
    "no validation": (HEAD + "protocol: {validation: 0}", f"line 5: protocol.validation: {SHARE} 0."),
    "all validation": (HEAD + "protocol: {validation: 1.0}", f"line 5: protocol.validation: {SHARE} 1.0."),
    "boolean validation": (
        HEAD + "protocol: {validation: true}",
        f"line 5: protocol.validation: {SHARE} true.",
    ),
    "NaN validation": (HEAD + "protocol: {validation: .nan}", f"line 5: protocol.validation: {SHARE} nan."),
    "validation that does not fit": (
        HEAD + "protocol: {validation: 1438}",
        "line 5: protocol.validation: digits: validation: expected 1 to 1437 of the 1438 training samples, got 1438",
    ),
    "validation of nobody": (HEAD + "protocol: {validation: 1e-9}", "got 1e-09, which is 0."),
    "per_data key": (
        HEAD + "protocol:\n  per_data:\n    digits: {epoch: 3}",
        "line 7: protocol.per_data.digits.epoch: Unknown key 'epoch'. Known: batch_size, epochs, ",
    ),
    "per_data of unknown data": (
        HEAD + "protocol: {per_data: {mnits: {epochs: 3}}}",
        "line 5: protocol.per_data.mnits: Unknown data 'mnits'.",
    ),
    "per_data of other data": (
        HEAD + "protocol: {per_data: {mnist: {epochs: 3}}}",
        "line 5: protocol.per_data.mnist: Unknown data of this suite 'mnist'. Known: digits.",
    ),
    "per_data in per_data": (
        HEAD + "protocol: {per_data: {digits: {per_data: {}}}}",
        "protocol.per_data.digits.per_data: Unknown key 'per_data'.",
    ),
    "epochs twice": (
        HEAD + "  epochs: [1, 2]\nprotocol: {epochs: 3}",
        "line 6: protocol.epochs: expected epochs in one place, but matrix gives it too.",
    ),
    "batch size twice": (
        HEAD + "  batch_size: [8, 9]\nprotocol: {per_data: {digits: {batch_size: 3}}}",
        "line 6: protocol.per_data.digits.batch_size: expected batch_size in one place, but matrix gives it too.",
    ),
    "batch norm of one": (
        HEAD + "  regularizer: [batch_norm]\nprotocol: {batch_size: 1293}",
        "line 5: matrix.regularizer: batch_norm cannot train on one sample, but 1,294 training samples of digits "
        "in batches of 1293 leave a batch of 1",
    ),
    # Recipes that mean nothing.
    "dropout without hidden layers": (
        HEAD + "  regularizer: [none, dropout]\nmodel: softmax_regression",
        "line 5: matrix.regularizer: regularizer dropout needs a hidden layer, and model softmax_regression has none.",
    ),
    "two decays": (
        HEAD + "  regularizer: [weight_decay]\n  optimizer: [sgd, adamw]",
        "line 5: matrix.regularizer: optimizer adamw has its own weight_decay; "
        "exclude {regularizer: weight_decay, optimizer: adamw}.",
    ),
    # Include and exclude.
    "include is a mapping": (
        HEAD + "include: {activation: relu}",
        "line 5: include: expected a list of mappings",
    ),
    "include is null": (HEAD + "include:", "line 5: include: expected a list of mappings"),
    "include of a name": (
        HEAD + "include: [relu]",
        "line 5: include[0]: expected a mapping of factors to levels",
    ),
    "empty include": (
        HEAD + "include: [{}]",
        "line 5: include[0]: expected at least one key, got an empty mapping.",
    ),
    "include of an unknown level": (
        HEAD + "include:\n- activation: gelu",
        "line 6: include[0].activation: Unknown activation 'gelu'.",
    ),
    "include of an unknown factor": (
        HEAD + "include: [{activaton: relu}]",
        "line 5: include[0].activaton: Unknown factor 'activaton'. Known: activation, augmentation, batch_size, data",
    ),
    "include that is excluded": (
        HEAD + "include: [{activation: tanh}]\nexclude: [{activation: tanh}]",
        "line 5: include[0]: expected at least one cell, but none is left: exclude drops them",
    ),
    "include of a level and its value": (
        HEAD + "include: [{optimizer: {sgd: {lr: 1}}, optimizer.lr: 2}]",
        "line 5: include[0].optimizer.lr: expected lr in one place, but optimizer sgd gives it too.",
    ),
    "empty exclude": (
        HEAD + "exclude: [{}]",
        "line 5: exclude[0]: expected at least one key, got an empty mapping.",
    ),
    "exclude of an unplanned level": (
        HEAD + "exclude:\n- {activation: relu, optimizer: adam}",
        "line 6: exclude[0]: matches no planned cell: none has optimizer adam.",
    ),
    "exclude of an unplanned value": (
        HEAD + "exclude: [{optimizer: {sgd: {lr: 0.2}}}]",
        "line 5: exclude[0]: matches no planned cell: none has optimizer sgd.",
    ),
    "exclude of a pair that never meets": (
        HEAD.replace("digits", "digits, mnist")
        + "include: [{data: digits, optimizer: adam}]\nexclude: [{data: mnist, optimizer: adam}]",
        "line 6: exclude[0]: matches no planned cell: none has all of these together.",
    ),
    "exclude of an unknown key": (
        HEAD + "exclude: [{seed: 3}]",
        "line 5: exclude[0].seed: Unknown factor 'seed'.",
    ),
    "exclude of all": (
        HEAD + "exclude: [{activation: relu}]",
        "matrix: expected at least one cell, but none is left",
    ),
    # Endpoint and effects.
    "unknown endpoint": (HEAD + "endpoint: test_acuracy", "Did you mean 'test_accuracy'?"),
    "endpoint is a list": (
        HEAD + "endpoint: [test_loss]",
        "line 5: endpoint: Unknown endpoint ['test_loss'].",
    ),
    "endpoint of other data": (
        HEAD + "endpoint: test_mse",
        "line 5: endpoint: no data set of this suite has mse; they have loss, accuracy.",
    ),
    "effect is a number": (
        HEAD + "smallest_effect: 0.1",
        "smallest_effect: expected a mapping of data sets to numbers",
    ),
    "negative effect": (
        HEAD + "smallest_effect: {digits: -1}",
        "line 5: smallest_effect.digits: expected a number of at least 0, got -1.",
    ),
    "infinite effect": (
        HEAD + "smallest_effect: {digits: .inf}",
        "expected a number of at least 0, got inf.",
    ),
    "boolean effect": (
        HEAD + "smallest_effect: {digits: true}",
        "expected a number of at least 0, got true.",
    ),
    "effect on other data": (
        HEAD + "smallest_effect: {mnist: 0.1}",
        "line 5: smallest_effect.mnist: Unknown data of this suite 'mnist'. Known: digits.",
    ),
}


def test_the_head_of_the_bad_suites_is_good() -> None:
    assert validate(read(HEAD)).name == "t"


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_a_bad_suite_is_refused_in_one_message(text: str, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        validate(read(text, name="bad.yaml"))

    got = str(caught.value)
    assert got.startswith("bad.yaml")
    assert all(part in got for part in message.split(" … "))
    assert "\n" not in got
    assert len(got) < 700


@pytest.mark.parametrize("number", ["1e-3", "1.0e-3", "0.001", "1E-3", "+.1e-2"])
def test_numbers_are_numbers_however_they_are_written(number: str) -> None:
    suite = validate(read(HEAD + f"  optimizer: [{{sgd: {{lr: {number}}}}}]"))

    assert suite.levels()["optimizer"][0].parameters == {"lr": 0.001}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": "t", 3: 4}, "suite: expected names as keys, got one of type int."),
        ({"name": "t", "data": {"digits"}}, "suite: data: expected plain text, numbers, lists or mappings"),
        ({"name": "t", "seeds": 10**5000}, "suite: seeds: expected a whole number of at most 63 bits"),
        ({"name": "t", "data": "irises", "matrix": {}}, "suite: data: Unknown data 'irises'."),
    ],
)
def test_suites_from_python_are_refused_in_the_same_words(value: Any, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        load_suite(value)

    assert message in str(caught.value)


_WORDS = st.sampled_from(
    [
        *("name", "data", "model", "matrix", "include", "exclude", "seeds", "device", "protocol", "endpoint"),
        *("digits", "mlp", "relu", "sgd", "lr", "hidden", "optimizer", "optimizer.lr", "model.hidden", "cpu"),
        *(
            "per_data",
            "epochs",
            "none",
            "no",
            "~",
            "1e-3",
            "-1",
            ".nan",
            ".inf",
            "[]",
            "{}",
            "[",
            "{",
            "}",
            "]",
        ),
        *(
            ":",
            ",",
            "- ",
            "\n",
            "\n  ",
            "&a",
            "*a",
            "!!str",
            "'",
            '"',
            "#",
            "|",
            ">",
            "%",
            "@",
            "\t",
            "\0",
            "é",
            "9" * 50,
        ),
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_a_suite_is_valid_or_refused(data: st.DataObject) -> None:
    """A stretch of a good suite is replaced by words of the language, then judged."""
    text = data.draw(st.sampled_from([template(), HEAD]))
    start = data.draw(st.integers(0, len(text)))
    end = min(len(text), start + data.draw(st.integers(0, 40)))
    new = "".join(data.draw(st.lists(_WORDS | st.text(max_size=5), max_size=8)))

    with contextlib.suppress(RequestError):
        assert isinstance(validate(read(text[:start] + new + text[end:])), Suite)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _WORDS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(list(Suite.model_fields)), _VALUES, max_size=3))
def test_any_values_of_the_keys_are_valid_or_refused(keys: dict[str, object]) -> None:
    good = {"name": "t", "data": "digits", "matrix": {"activation": ["relu"]}}

    with contextlib.suppress(RequestError):
        assert isinstance(load_suite({**good, **keys}), Suite)
