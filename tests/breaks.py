"""Breaks each defining property on purpose, in a copy of the tree, and sees that its test fails.

    python -m tests.breaks [WORD...]    those whose name holds a word; all by default

A test that passes says something only if it would fail. Every break is one edit of one line.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
FOLDERS = ("suite", "tasks", "baselines", "tests")
#: How pytest shows an assertion that does not hold. Code that merely crashes has not been noticed by a test.
REFUTED = re.compile(r"^E .*(\bassert\b|AssertionError|DID NOT RAISE)", re.MULTILINE)


class Break(NamedTuple):
    """An edit of one file, and the test that must notice; ``guard`` is the message of a check in the code itself."""

    name: str
    file: str
    old: str
    new: str
    test: str
    guard: str = ""


BREAKS = (
    # --- guests
    Break(
        "the noise of a secret comes from torch's generator",
        "suite/measuring/stream.py",
        "if not isinstance(rng, SecretGenerator):",
        "if rng is not None:",
        "measuring/test_stream.py::test_no_draw_of_a_secret_takes_anything_from_torchs_generators",
    ),
    Break(
        "guests meet the published binarization",
        "suite/measuring/subject.py",
        "published.test.redrawn(secret.uniform)",
        "published.test",
        "measuring/test_subject.py::test_a_secret_binarizes_the_test_images_and_nothing_else",
    ),
    Break(
        "a scale whose square has no digits is priced",
        "suite/measuring/families.py",
        "        _check_range(parameters)",
        "        _check_range({})",
        "measuring/test_pricing.py::test_a_scale_whose_square_has_no_digits_is_refused",
    ),
    Break(
        "an Independent of negative dimensions is priced",
        "suite/measuring/families.py",
        "            _check_dimensions(q.reinterpreted_batch_ndims, base)",
        "            _check_dimensions(0, base)",
        "measuring/test_pricing.py::test_an_independent_takes_dimensions_that_its_base_has",
    ),
    Break(
        "mixing weights may have more rows than there are components for",
        "suite/measuring/families.py",
        "    if len(weights) > len(components) or any(given not in (1, wanted) for given, wanted in sizes):",
        "    if any(given not in (1, wanted) for given, wanted in sizes if wanted != 1):",
        "measuring/test_pricing.py::test_mixing_weights_have_no_more_rows_than_there_are_components_for",
    ),
    Break(
        "a price may have more terms than the value has numbers",
        "suite/measuring/pricing.py",
        "    if terms.shape != z.shape[: z.ndim - len(p.event_shape)]:",
        "    if terms.ndim < 1:",
        "measuring/test_pricing.py::test_a_price_has_one_term_for_every_number_of_the_value",
    ),
    Break(
        "a kind of cell may be left out of the sample",
        "suite/submitting/verifying.py",
        "    picked: list[Row] = [rows[0] for rows in kinds.values()]",
        "    picked: list[Row] = [rows[0] for rows in kinds.values()][:1]",
        "submitting/test_verifying.py::test_each_kind_of_cell_is_in_the_sample_however_few_are_asked_for",
    ),
    Break(
        "what is claimed counts as run again",
        "suite/boards/cells.py",
        '    return NOT_AGAIN if outcome.untried else ""',
        '    return ""',
        "boards/test_board.py::test_what_is_claimed_and_not_run_again_moves_no_number",
    ),
    Break(
        "a claim moves the standing of what is there",
        "suite/submitting/admitting.py",
        "        if new is not None and new_claim:",
        "        if False:",
        "submitting/test_admitting.py::test_a_claim_of_what_is_there_is_refused_and_moves_no_standing",
    ),
    Break(
        "training where an epoch's numbers are asked for is not seen",
        "suite/training/loop.py",
        "            with self.effort.apart(), self._watching(adam, True):\n                means_of_epoch",
        "            with self._watching(adam, False):\n                means_of_epoch",
        "training/test_counting.py::test_steps_within_a_hook_are_counted_and_noticed",
    ),
    Break(
        "a literal in an argument's default is not seen",
        "suite/checking/lint.py",
        "        if not isinstance(child, ast.stmt):\n",
        "        if isinstance(child, ast.expr):\n",
        "checking/test_lint.py::test_a_large_literal_is_seen_wherever_a_statement_holds_it",
    ),
    Break(
        "any file below a folder called suite is taken for the suite's own",
        "suite/checking/lint.py",
        "if own_file(name, data):",
        "if name.startswith('suite/'):",
        "checking/test_lint.py::test_a_file_is_the_suites_own_where_it_is_so_to_the_byte",
    ),
    Break(
        "names that are said again are not measured",
        "suite/checking/lint.py",
        'return " ".join(ast.unparse(child) if isinstance(child, ast.expr) else _text(child) for child in children)',
        "return \" \".join(sorted({node.id for child in children for node in ast.walk(child) if hasattr(node, 'id')}))",
        "checking/test_lint.py::test_names_that_are_said_again_and_again_may_hold_weights",
    ),
    Break(
        "submitted variants decide for how many seeds others are ranked",
        "suite/boards/board.py",
        '(data["standing"] != ""))',
        '(data["standing"] == store.CLAIMED))',
        "records/test_hostile.py::test_any_number_of_submitted_variants_with_few_seeds_changes_no_other_row",
    ),
    Break(
        "a sitting leaves the time at which it read",
        "suite/guests/keeping.py",
        "os.utime(Path(path, name), ns=(0, 0), follow_symlinks=False)",
        "pass",
        "guests/test_keeping.py::test_a_sitting_leaves_no_time_at_which_it_read_the_scratch_folder",
    ),
    Break(
        "a keeper that never started is its guest's doing",
        "suite/guests/room.py",
        'return self._due[:1] != ["ready"]',
        "return True",
        "guests/test_room.py::test_a_keeper_that_does_not_start_is_its_machines_fault",
    ),
    Break(
        "counting takes apart what has a kernel of its own",
        "suite/training/counting.py",
        " and not has_kernel(name):",
        ":",
        "training/test_counting.py::test_counting_changes_no_bit_of_an_answer_or_a_gradient",
    ),
    Break(
        "a step is counted as it is taken, not in a dry run",
        "suite/training/loop.py",
        "                with dry_run(self.baseline), self.effort.sampling():",
        "                with self.effort.sampling():",
        "training/test_dry_run.py::test_how_many_steps_are_counted_moves_no_bit_and_no_attribute",
    ),
    Break(
        "a dry run leaves the random numbers where it came to",
        "suite/training/dry_run.py",
        "    with torch.random.fork_rng(devices=devices):\n        yield",
        "    yield",
        "training/test_dry_run.py::test_nothing_that_a_step_did_is_left",
    ),
    Break(
        "a training that fits into one step is not seen",
        "suite/training/loop.py",
        "        self.done.lingered += lingered(took)\n",
        "",
        "training/test_counting.py::test_a_training_that_fits_into_one_step_is_noticed_by_the_time_it_takes",
    ),
    Break(
        "a sitting may do anything to a descriptor",
        "suite/guests/filter.py",
        '"ioctl", "fcntl", "prctl",',
        '"ioctl", "prctl",',
        "guests/test_filter.py::test_a_filtered_process_computes_and_reads_but_leaves_nothing",
    ),
    Break(
        "a family is whatever a file is called",
        "suite/boards/ranking.py",
        'f"{row.family or row.model} {row.source}"',
        "row.family or row.model",
        "boards/test_ranking.py::test_a_file_that_is_called_as_another_is_does_not_become_of_its_family",
    ),
    Break(
        "what many files hold is not added up",
        "suite/checking/lint.py",
        "_together(list(trees.values()))",
        "_together([trees[largest]])",
        "checking/test_lint.py::test_what_files_hold_together_is_the_same_in_one_file_and_in_many",
    ),
    Break(
        "a claim says what a model costs",
        "suite/boards/cells.py",
        '.sort_values("untried", ascending=False, kind="stable")',
        "",
        "submitting/test_admitting.py::test_what_a_model_costs_is_told_by_the_cells_that_were_run_here",
    ),
    Break(
        "an operator that no formula is known of counts nothing",
        "suite/training/formulas.py",
        "    if MULTIPLYING.isdisjoint(words):",
        "    if words:",
        "training/test_counting.py::test_a_product_counts_however_it_is_written",
    ),
    Break(
        "attributes that a pattern takes are not read",
        "suite/checking/lint.py",
        "isinstance(node, ast.MatchClass) and (node.patterns or node.kwd_attrs)",
        "isinstance(node, ast.MatchClass) and node.patterns",
        "checking/test_lint.py::test_an_attribute_that_a_pattern_takes_is_refused",
    ),
    Break(
        "images are hidden in this environment's packages alone",
        "suite/guests/containment.py",
        'for below in (".", "pkgs/*", "envs/*"):',
        'for below in ("pkgs/*", "envs/*"):',
        "guests/test_containment.py::test_images_within_packages_are_hidden_wherever_packages_lie",
    ),
    Break(
        "what coding takes must be the same to the last operation",
        "suite/submitting/verifying.py",
        '"flops_per_image": 0.2',
        '"flops_per_image": 0.0',
        "submitting/test_verifying.py::test_a_record_agrees_with_itself_and_with_another_noise",
    ),
    Break(
        "the check reads no source",
        "suite/checking/check.py",
        '"fail" if found else "pass"',
        '"pass"',
        "checking/test_hosted.py::test_what_is_wrong_with_a_file_is_found",
    ),
    Break(
        "products that torch has no formula for count nothing",
        "suite/training/counting.py",
        "flop_registry.get(func.overloadpacket) or own_formula(func.overloadpacket)",
        "flop_registry.get(func.overloadpacket)",
        "training/test_counting.py::test_a_product_counts_however_it_is_written",
    ),
    Break(
        "nobody asks how long a step takes where it is not counted",
        "suite/training/loop.py",
        "                self.done.shares.append(seconds / dry)",
        "                self.done.shares.append(1.0)",
        "training/test_counting.py::test_work_where_nobody_counts_shows_beside_the_same_step_where_somebody_does",
    ),
    Break(
        "closed forms are granted beside a loss",
        "suite/running/effort.py",
        'if note.get("steps") else PASSES',
        "if False else PASSES",
        "running/test_effort.py::test_closed_forms_are_granted_to_models_without_a_loss_alone",
    ),
    Break(
        "a coding in which nothing counts has any training",
        "suite/running/effort.py",
        'unit := unit or 2 * note.get("numbers", 0)',
        "unit := unit",
        "running/test_effort.py::test_a_coding_in_which_nothing_counts_is_measured_by_what_the_model_holds",
    ),
    Break(
        "a model may have a bookkeeping of its own",
        "suite/training/checkpoints.py",
        "if name in vars(part) or not _installed(next(c for c in type(part).__mro__ if name in vars(c))):",
        "if False:",
        "training/test_counting.py::test_a_model_keeps_torchs_bookkeeping",
    ),
    Break(
        "a checkpoint holds what a model learnt while it was proven",
        "suite/measuring/sealing.py",
        "        if part not in state or not torch.equal(tensor.nan_to_num(), state[part].nan_to_num()):\n",
        "        if part not in state:\n",
        "measuring/test_sealing.py::test_a_model_that_learns_while_it_answers_is_not_sealed",
    ),
    Break(
        "a rate may be a thing of a model's own",
        "suite/training/loop.py",
        "    if type(value) not in types:\n",
        "    if not isinstance(value, types):\n",
        "training/test_loop.py::test_a_number_that_a_model_says_of_itself_is_a_plain_one",
    ),
    Break(
        "the rate is asked for at every step",
        "suite/training/loop.py",
        "adam.lr = self.rate * min",
        "adam.lr = self.baseline.learning_rate * min",
        "training/test_loop.py::test_the_learning_rate_is_asked_for_once",
    ),
    Break(
        "a term may be a tensor of a model's own kind",
        "suite/training/terms.py",
        "            if type(value) is not Tensor or value.shape != (n,):\n",
        "            if not isinstance(value, Tensor) or value.shape != (n,):\n",
        "training/test_loop.py::test_a_loss_that_breaks_the_contract_says_what_was_found",
    ),
    Break(
        "a buffer may be a tensor of a model's own kind",
        "suite/training/checkpoints.py",
        "type(tensor) not in (Tensor, nn.Parameter)",
        "not isinstance(tensor, Tensor)",
        "training/test_counting.py::test_a_tensor_of_a_models_own_kind_runs_nothing_where_the_suite_reads_it",
    ),
    Break(
        "what is called a package's is the package's",
        "suite/training/checkpoints.py",
        " and getattr(module, cls.__qualname__, None) is cls",
        "",
        "training/test_counting.py::test_layers_of_installed_packages_keep_their_ways_and_what_is_called_as_they_are_does_not",
    ),
    Break(
        "nobody asks what passes between the steps",
        "suite/training/loop.py",
        "        self.done.elsewhere += core_seconds - known\n",
        "",
        "training/test_counting.py::test_time_between_steps_and_what_is_counted_is_told",
    ),
    Break(
        "what passes between the steps marks nothing",
        "suite/running/effort.py",
        '    "elsewhere_seconds": "{:.3g} s passed between what is counted",\n',
        "",
        "running/test_effort.py::test_a_training_within_single_steps_or_between_them_is_marked",
    ),
    Break(
        "a training says itself how many images it had",
        "suite/running/effort.py",
        "images, n = BUDGETS[budget], len(dataset.train)",
        "images, n = max(BUDGETS[budget], note.get('images', 0)), len(dataset.train)",
        "running/test_effort.py::test_a_fifth_more_than_the_budget_is_the_limit",
    ),
    Break(
        "what a model learns before its first answer is free",
        "suite/running/effort.py",
        'gradients = (note["backward_flops"] + fixed) / (2 * unit * images)',
        'gradients = note["backward_flops"] / (2 * unit * images)',
        "running/test_effort.py::test_learning_before_an_answer_is_training",
    ),
    Break(
        "what is done before an answer makes the budget larger",
        "suite/measuring/flops.py",
        "max(0, once[0] - fixed) - max(0",
        "once[0] - max(0",
        "measuring/test_flops.py::test_what_is_done_before_the_first_answer_is_told_from_what_grows_with_the_images",
    ),
    Break(
        "a guest is counted with fewer images than are scored at once",
        "suite/guests/model.py",
        "COUNTED, BLOCK = 256, 64",
        "COUNTED, BLOCK = 16, 4",
        "guests/test_counting.py::test_what_a_guest_learns_before_it_answers_is_told_from_coding",
    ),
    Break(
        "gradients at an answer make the budget larger",
        "suite/measuring/flops.py",
        " - max(0, once[1] - fixed_gradients)",
        "",
        "measuring/test_flops.py::test_gradients_at_an_answer_are_no_unit_of_a_budget",
    ),
    Break(
        "a submission's classes are as many families as they say",
        "suite/boards/ranking.py",
        'return row.source if row.standing else f"{row.family or row.model} {row.source}"',
        'return f"{row.family or row.model} {row.source}"',
        "boards/test_ranking.py::test_a_file_from_outside_is_one_family_whatever_its_classes_call_theirs",
    ),
    Break(
        "a submission's clones count in a column",
        "suite/boards/ranking.py",
        "families = [row.source if row.standing else row.model for row in rows]",
        "families = [row.model for row in rows]",
        "boards/test_ranking.py::test_a_file_from_outside_is_one_family_whatever_its_classes_call_theirs",
    ),
    Break(
        "a submitter says how far his numbers may lie apart",
        "suite/submitting/verifying.py",
        "reasons = _differences(raw, second, spread if every else {})",
        "reasons = _differences(raw, second, spread)",
        "submitting/test_verifying.py::test_another_processor_is_believed_only_where_every_cell_runs_again",
    ),
    Break(
        "a score may be surer than its values",
        "suite/submitting/claims.py",
        '    if metric["se"] is not None and not np.isclose(error, metric["se"], *CLOSE_ERROR):\n',
        "    if error < 0:\n",
        "submitting/test_verifying.py::test_a_score_is_as_sure_as_its_values",
    ),
    Break(
        "a verdict without walls says nothing of it",
        "suite/submitting/verifying.py",
        'guest.get("kind") == "contained" and bool(guest.get("filter"))',
        'bool(guest.get("kind"))',
        "submitting/test_verifying.py::test_a_verdict_on_a_model_without_walls_says_so",
    ),
    Break(
        "a module is found only where it is imported",
        "suite/checking/lint.py",
        '    if (chain := f"{owner}.{node.attr}") in MODULES:',
        '    if (chain := f"{owner}.{node.attr}") in ():',
        "checking/test_lint.py::test_what_reaches_outside_is_refused_with_its_line",
    ),
    Break(
        "a function is refused only where it is called by its name",
        "suite/checking/lint.py",
        "if node.id in NEVER or node.id not in own or node in called:",
        "if node in called:",
        "checking/test_lint.py::test_what_reaches_outside_is_refused_with_its_line",
    ),
    Break(
        "bits are disturbed by noise in a check",
        "suite/checking/integrity.py",
        "        name: v if name in counts else",
        "        name: v if not v.is_floating_point() else",
        "checking/test_integrity.py::test_bits_are_not_disturbed_by_noise",
    ),
    Break(
        "nobody watches what a loss does to the weights",
        "suite/training/loop.py",
        "self._watching(adam, watched):",
        "self._watching(adam, False):",
        "training/test_counting.py::test_steps_within_a_loss_are_noticed_and_gradients_outside_the_loop_told_apart",
    ),
    Break(
        "the scratch folder of a guest is /tmp",
        "suite/guests/containment.py",
        'SCRATCH, SCRATCH_BYTES = "/latent-suite-scratch", 2**26',
        'SCRATCH, SCRATCH_BYTES = "/tmp", 2**26',
        "guests/test_containment.py::test_the_only_folder_that_can_be_written_holds_nothing_else",
    ),
    # --- records from elsewhere
    Break(
        "invented models of another folder vote",
        "suite/boards/reference.py",
        "return [row for row in found if not row.foreign] or found",
        "return found",
        "records/test_hostile.py::test_any_number_of_invented_models_in_another_folder_changes_no_other_row",
    ),
    Break(
        "a run again does not look at marks",
        "suite/submitting/verifying.py",
        'for flag in second["flags"]',
        "for flag in ()",
        "submitting/test_verifying.py::test_what_differs_has_a_sentence",
    ),
    # --- searches
    Break(
        "a search prices test images",
        "suite/data/datasets.py",
        "read_test=lambda: dataset.val",
        "read_test=dataset.read_test",
        "tuning/test_tune.py::test_no_trial_of_a_search_can_read_the_test_split",
    ),
    Break(
        "a search space stands in the key",
        "suite/plugins/syntax.py",
        "if not (derived and _is_space(item))",
        "if not (derived and False)",
        "plugins/test_space.py::test_no_key_knows_of_a_space",
    ),
    Break(
        "an operator's kernel in Python is not looked for",
        "suite/training/counting.py",
        "        looked_at(name, registered())\n",
        "",
        "training/test_counting.py::test_an_operator_that_runs_python_is_refused_before_it_runs",
    ),
    Break(
        "a tensor that answers operators by itself is counted as it says",
        "suite/training/counting.py",
        "if own := [kind for kind in types if",
        "if own := [kind for kind in () if",
        "training/test_counting.py::test_a_tensor_that_answers_operators_by_itself_is_refused",
    ),
    Break(
        "getattr may be handed on",
        "suite/checking/lint.py",
        "            if node not in called and isinstance(node.ctx, ast.Load):\n",
        "            if False:\n",
        "checking/test_lint.py::test_an_attribute_whose_name_is_not_written_out_is_refused",
    ),
    Break(
        "a model of a wild scale is ranked among the others",
        "suite/boards/ranking.py",
        "WILD = 1000.0\n",
        "WILD = np.inf\n",
        "boards/test_ranking.py::test_a_model_of_a_wild_scale_has_no_place_and_takes_nobody_s",
    ),
    Break(
        "one record says how many images all models have",
        "suite/boards/ranking.py",
        "Counter(known or [row.images for row in _own(rows)]).most_common(1)[0][0]",
        "max(row.images for row in rows)",
        "boards/test_ranking.py::test_one_record_s_number_of_images_moves_nobody_else",
    ),
    Break(
        "the models of a submission say what is usual",
        "suite/boards/ranking.py",
        "return [row for row in rows if not row.standing] or list(rows)",
        "return list(rows)",
        "boards/test_ranking.py::test_any_number_of_models_in_a_submission_do_not_say_what_is_usual",
    ),
    Break(
        "a merge of workspaces leaves behind how records stand",
        "suite/records/merging.py",
        '{key for key in outcome["taken"] if places[key] == place}',
        "set()",
        "records/test_merging.py::test_how_a_submissions_records_stand_goes_with_them",
    ),
    Break(
        "a standing that cannot be read makes records one's own",
        "suite/records/stamps.py",
        'raise UserError(f"{path} does not say how its records stand: restore it, or remove them with it")',
        "continue",
        "records/test_merging.py::test_a_standing_that_cannot_be_read_makes_no_claim_ones_own",
    ),
    Break(
        "what learns in fit may bring one training for all seeds",
        "suite/running/effort.py",
        '    elif (learns or note.get("backward_flops")) and',
        "    elif learns and",
        "running/test_effort.py::test_equal_parameters_of_what_learns_in_fit_are_marked_too",
    ),
    Break(
        "another folder's record passes for the first folder's",
        "suite/records/store.py",
        '                if taken and places is not None:\n                    places[raw["key"]] = place\n',
        '                if places is not None:\n                    places.setdefault(raw["key"], place)\n',
        "records/test_store.py::test_the_place_is_that_of_the_record_that_stands",
    ),
    Break(
        "a training beyond its budget passes the check",
        "suite/checking/hosted.py",
        "    if own := own_training(s.note, coding, s.budget, s.dataset):\n",
        "    if own := '':\n",
        "checking/test_hosted.py::test_a_training_beyond_its_budget_is_told_before_it_is_run",
    ),
    Break(
        "a record that somebody else has broken is renamed where it lies",
        "suite/records/store.py",
        'aside = "left out" if foreign else set_aside(Path(path))',
        "aside = set_aside(Path(path))",
        "records/test_store.py::test_a_corrupt_record_of_somebody_else_stays_as_it_is",
    ),
    Break(
        "what is claimed stands among models with weights of their own",
        "suite/boards/rows.py",
        "self.standing == CLAIMED, self.tuned",
        "False, self.tuned",
        "pages/test_text.py::test_a_submission_says_how_it_stands",
    ),
    Break(
        "a tuned model is ranked with those that were not",
        "suite/boards/rows.py",
        "return self.apart, self.standing == CLAIMED, self.tuned, self.supervised",
        "return self.apart, self.standing == CLAIMED, 0, self.supervised",
        "boards/test_board.py::test_tuned_models_are_ranked_among_those_of_as_many_trials_and_never_with_declared_ones",
    ),
    # --- skips
    Break(
        "low and high no longer add up",
        "baselines/skip.py",
        "return x - low(x, pool)",
        "return x - 0.9 * low(x, pool)",
        "baselines/test_skip.py::test_low_and_high_are_orthogonal_projections_that_add_up",
    ),
    Break(
        "a filtered skip keeps some of its block means",
        "baselines/skip.py",
        '"skip0": h0 - low0,',
        '"skip0": h0 - 0.9 * low0,',
        "baselines/test_skip.py::test_filtered_skips_hold_nothing_below_their_cut",
    ),
    Break(
        "the deeper path sees all frequencies",
        "baselines/skip.py",
        "h1 = self.down(low0)",
        "h1 = self.down(h0)",
        "baselines/test_skip.py::test_the_deeper_path_is_given_no_high_band",
    ),
    Break(
        "the pyramid loses a tenth of its lowest band",
        "baselines/skip.py",
        "x = detail + enlarge(x)",
        "x = detail + 0.9 * enlarge(x)",
        "baselines/test_skip.py::test_the_bands_give_the_image_back",
    ),
    Break(
        "the Haar transform is not orthonormal",
        "baselines/skip.py",
        "bands.append(torch.cat([a - b + c - d, a + b - c - d, a - b - c + d], 1) / 2)",
        "bands.append(torch.cat([a - b + c - d, a + b - c - d, a - b - c + d], 1) / 4)",
        "baselines/test_skip.py::test_haar_keeps_every_sum_of_products",
    ),
    Break(
        "a stochastic skip is charged for saying nothing",
        "baselines/skip.py",
        "Normal(prior.scale * shift, prior.scale * log_ratio.exp()",
        "Normal(prior.scale * shift + 0.1, prior.scale * log_ratio.exp()",
        "baselines/test_skip.py::test_a_skip_that_saw_nothing_costs_nothing",
    ),
    Break(
        "a level does not train the encoder's maps",
        "baselines/skip.py",
        'self.skip1.posterior(state, h1, p["skip1"])',
        'self.skip1.posterior(state, h1.detach(), p["skip1"])',
        "baselines/test_skip.py::test_the_loss_is_the_bound_that_the_groups_say_and_has_its_gradient",
    ),
    Break(
        "a level's rate does not train the levels above it",
        "baselines/skip.py",
        'state = F.relu(self.skip1(state, q["skip1"].rsample()))',
        'state = F.relu(self.skip1(state, q["skip1"].rsample())).detach()',
        "baselines/test_skip.py::test_the_rate_of_a_level_trains_that_level_and_what_it_is_given",
    ),
    # --- what-where
    Break(
        "unpooling puts values one place further on",
        "baselines/swwae.py",
        "offsets.take(where), self.size)",
        "offsets.take((where + 1) % len(offsets)), self.size)",
        "baselines/test_swwae.py::test_unpooling_puts_every_maximum_back_where_it_was_and_zeros_elsewhere",
    ),
    Break(
        "the encoder's maps are pulled towards the decoder's",
        "baselines/swwae.py",
        "target.detach() if self.stop_gradient else target",
        "target",
        "baselines/test_swwae.py::test_a_stopped_target_is_not_pulled_towards_the_decoder",
    ),
    Break(
        "a label of an unlabelled image is looked at",
        "baselines/swwae.py",
        'nll = self._nll(codes["what"][:labelled], self.classes[rows])',
        'nll = self._nll(codes["what"][:labelled], batch.y[:labelled])',
        "baselines/test_swwae.py::test_the_label_of_an_image_that_is_not_labelled_changes_nothing",
    ),
    # --- shape and appearance
    Break(
        "the skeleton is an edge map",
        "baselines/vunet.py",
        '{"skeleton": skeleton,',
        '{"skeleton": edges,',
        "baselines/test_vunet.py::test_the_skeleton_tells_less_of_the_stroke_s_thickness_than_the_edges",
    ),
    Break(
        "patches remember where they were",
        "baselines/vunet.py",
        "* points).sum((2, 3))",
        "* points).cumsum(3).sum((2, 3))",
        "baselines/test_vunet.py::test_the_bag_of_patches_does_not_know_where_its_patches_were",
    ),
    Break(
        "appearance does not reach the generator",
        "baselines/vunet.py",
        'self.generator(self._skips(values["shape"]), values["z"])',
        'self.generator(self._skips(values["shape"]), 0 * values["z"])',
        "baselines/test_vunet.py::test_a_swapped_image_follows_one_in_shape_and_the_other_in_colour",
    ),
    Break(
        "the rate teaches no prior",
        "baselines/vunet.py",
        "gaussian_kl(q, p)",
        "gaussian_kl(q, q)",
        "baselines/test_vunet.py::test_the_rate_teaches_the_posterior_and_the_prior_and_nothing_else",
    ),
    # --- homoencoders
    Break(
        "the class code depends on the order of its supports",
        "baselines/homoencoder.py",
        "embedded.mean(1)",
        "embedded[:, 0]",
        "baselines/test_homoencoder.py::test_the_class_posterior_ignores_the_order_of_the_support_set",
    ),
    Break(
        "a support set may be made of the image itself",
        "baselines/homoencoder.py",
        "if not isinstance(supports, int) or supports < 1:",
        "if isinstance(supports, int) and supports < 1:",
        "baselines/test_homoencoder.py::test_a_support_set_made_of_the_image_itself_is_refused",
    ),
    Break(
        "supports are the coded images",
        "baselines/homoencoder.py",
        "q_c = self.class_posterior(self.draw_supports(present))\n        c = _draw(q_c)[row]\n        q_z",
        "q_c = self.class_posterior(batch.x[: len(present)].unsqueeze(1))\n        c = _draw(q_c)[row]\n        q_z",
        "baselines/test_homoencoder.py::test_the_support_set_does_not_depend_on_which_image_of_the_class_is_coded",
    ),
    Break(
        "every image bears the whole class code",
        "baselines/homoencoder.py",
        "_kl(q_c, _standard(q_c)) / self.sizes[present]",
        "_kl(q_c, _standard(q_c))",
        "baselines/test_homoencoder.py::test_each_image_bears_its_class_s_share_of_one_class_code",
    ),
    Break(
        "clusters stay what they were at random",
        "baselines/homoencoder.py",
        "self._regroup(self._cluster(train.binary, fresh=epoch == 0))",
        "self._cluster(train.binary, fresh=epoch == 0)",
        "baselines/test_homoencoder.py::test_clusters_move_and_end_more_like_the_classes_than_chance",
    ),
    Break(
        "the class is free",
        "baselines/homoencoder.py",
        "return Categorical(logits=self._log_frequencies())",
        "return Categorical(logits=1e3 * self._log_frequencies())",
        "baselines/test_homoencoder.py::test_the_class_costs_its_training_frequency",
    ),
    Break(
        "the distortion does not train the image's code",
        "baselines/homoencoder.py",
        "image_nats(self._logits(c, _draw(q_z)), batch.x)\n        rate_z",
        "image_nats(self._logits(c, _draw(q_z).detach()), batch.x)\n        rate_z",
        "baselines/test_homoencoder.py::test_the_gradient_of_each_term_reaches_the_networks_it_is_made_of",
    ),
    Break(
        "an image may be its own neighbour",
        "baselines/acn.py",
        "distance[own, own + start] = math.inf",
        "distance[own, own + start] += 0",
        "baselines/test_acn.py::test_neighbours_are_the_nearest_others",
    ),
    Break(
        "the neighbour's index is free",
        "baselines/acn.py",
        "torch.zeros_like(self.codes[:, 0])",
        "1e3 * (torch.arange(len(self.codes)) == 0)",
        "baselines/test_acn.py::test_the_index_costs_log_n_and_the_advertised_nats_leave_it_out",
    ),
    # --- messages
    Break(
        "messages are trained without disturbance",
        "baselines/inverted.py",
        "seen = disturb(self.generator(message).sigmoid(), strength, self.noise, self.order)",
        "seen = self.generator(message).sigmoid()",
        "baselines/test_inverted.py::test_messages_survive_noise_that_kills_an_untrained_nets",
    ),
    Break(
        "a pixel at infinity is no number",
        "baselines/inverted.py",
        "torch.nan_to_num(warp_perspective(x, warp, x.shape[-2:]), nan=0.0)",
        "warp_perspective(x, warp, x.shape[-2:])",
        "baselines/test_inverted.py::test_a_pixel_on_the_horizon_sees_nothing_and_passes_no_gradient",
    ),
    Break(
        "the loss peeks at the data",
        "baselines/inverted.py",
        "message = torch.randn(len(batch.x)",
        "message = batch.x.mean() + torch.randn(len(batch.x)",
        "baselines/test_inverted.py::test_the_loss_reads_nothing_of_the_data_but_their_number",
    ),
    Break(
        "a frozen arm trains its encoder",
        "suite/measuring/finetuning.py",
        "encoder.requires_grad_(not frozen)",
        "encoder.requires_grad_(True)",
        "tasks/test_linear_probe.py::test_arms_are_curves_whose_first_passage_is_reported",
        guard="the frozen encoder's parameters moved",
    ),
    Break(
        "nobody notices that a frozen arm moved",
        "suite/measuring/finetuning.py",
        "if frozen and _fingerprint(encoder) != before:",
        "if frozen and _fingerprint(encoder) == '':",
        "tasks/test_linear_probe.py::test_a_frozen_arm_whose_encoder_moves_is_caught",
    ),
    # --- tasks
    Break(
        "an octave is the next one",
        "tasks/spectrum.py",
        "keep = octaves(*images.shape[-2:]).to(images.device) == octave",
        "keep = octaves(*images.shape[-2:]).to(images.device) == octave + 1",
        "tasks/test_spectrum.py::test_an_image_is_the_sum_of_its_octaves",
    ),
    Break(
        "hybrids take the core of the wrong image",
        "tasks/transfer.py",
        "self.model.means(self.test.grey[core])[self.model.core]",
        "self.model.means(self.test.grey[other])[self.model.core]",
        "tasks/test_transfer.py::test_a_model_of_class_and_ink_parts_them_exactly_whichever_is_its_core",
    ),
    Break(
        "pairs that jump are not held to the cross-fade",
        "tasks/interpolation.py",
        "Measure.mean(torch.where(way.passed, excess, way.crossfade))",
        "Measure.mean(excess)",
        "tasks/test_interpolation.py::test_a_jump_a_constant_or_another_way_counts_as_the_cross_fade",
    ),
    Break(
        "a plain middle makes up for a rare one",
        "tasks/interpolation.py",
        "(self._nats(images) - self.image_nats).clamp_min(0)",
        "(self._nats(images) - self.image_nats)",
        "tasks/test_interpolation.py::test_no_pairs_excess_is_below_zero",
    ),
    Break(
        "the excess is taken over what is decoded",
        "tasks/interpolation.py",
        "self.image_nats = (self._nats(self.first) + self._nats(self.last)) / 2",
        "self.image_nats = (self._nats(self.points[0]) + self._nats(self.points[-1])) / 2",
        "tasks/test_interpolation.py::test_ends_that_are_rarer_than_their_images_gain_nothing",
    ),
    # --- groups
    Break(
        "the weakest group is ranked among all models",
        "tasks/latent_ablation.py",
        'Metric("weakest_net", "nats", "",',
        'Metric("weakest_net", "nats", "higher",',
        "tasks/test_latent_ablation.py::test_the_weakest_group_is_ranked_among_equal_groupings_alone_and_nothing_counts_in_"
        "the_overall_order",
    ),
    Break(
        "the ranked net depends on how the message is cut",
        "tasks/latent_ablation.py",
        'for name, net in {"message_net": whole,',
        'for name, net in {"message_net": nets[weakest],',
        "tasks/test_latent_ablation.py::test_the_whole_messages_net_does_not_care_how_the_message_is_cut_and_the_weakest_"
        "groups_does",
    ),
    Break(
        "a unit is looked for under one wrapping alone",
        "tasks/latent_ablation.py",
        "base = bare(q) if isinstance(q, D.Distribution) else q",
        "base = q.base_dist if isinstance(q, D.Independent) else q",
        "tasks/test_latent_ablation.py::test_units_count_as_active_however_often_their_normal_is_wrapped",
    ),
    # --- the probe
    Break(
        "an index is read as a quantity",
        "suite/measuring/features.py",
        "    if classes <= 2:",
        "    if classes <= 20:",
        "tasks/test_linear_probe.py::test_a_discrete_core_is_read_as_indicators_and_scores_what_its_group_scores",
    ),
    Break(
        "too few components",
        "suite/measuring/linear.py",
        "subset_by_index=(d - count, d - 1)",
        "subset_by_index=(d - count - 1, d - 2)",
        "tasks/test_linear_probe.py::test_the_first_components_are_the_same_where_no_others_are_computed",
    ),
    Break(
        "the gradient forgets the penalty",
        "suite/measuring/logistic.py",
        "gradient[:, :-1] += strength * weight",
        "gradient[:, :-1] += 0 * weight",
        "tasks/test_linear_probe.py::test_the_curvature_is_the_diagonal_of_the_hessian",
    ),
    Break(
        "noise does not grow with its strength",
        "tasks/message_recovery.py",
        "warp_perspective(x + strength * NOISE * noise, warp",
        "warp_perspective(x + 0.5 * NOISE * noise, warp",
        "tasks/test_message_recovery.py",
    ),
    # --- what is read is what runs
    Break(
        "docstrings and comments are there when a model runs",
        "suite/plugins/loading.py",
        "return bare_text(data, known_as, face_of)",
        "return data, {}",
        "plugins/test_loading.py::test_a_file_can_tell_nothing_from_what_its_key_leaves_out",
    ),
    Break(
        "a class may say otherwise than its text",
        "suite/plugins/loading.py",
        "if not _same(found, read):",
        "if found is None:",
        "plugins/test_loading.py::test_an_attribute_that_is_another_when_the_file_runs_is_named_with_both_values",
    ),
    Break(
        "a model may say otherwise than its class",
        "suite/plugins/loading.py",
        "for found in (inspect.getattr_static(subject, name, None), getattr(subject, name, None)):",
        "for found in (inspect.getattr_static(cls, name, None),):",
        "plugins/test_loading.py::test_a_model_that_says_otherwise_than_its_class_is_named",
    ),
    Break(
        "a list and a tuple are one key and two models",
        "suite/plugins/parameters.py",
        "return {name: _alike(value, defaults.get(name)) for name, value in params.items()}",
        "return dict(params)",
        "plugins/test_parameters.py::test_two_values_that_a_key_takes_for_one_reach_the_model_as_one",
    ),
    Break(
        "a model changes the parameters of its key",
        "suite/training/recipe.py",
        "copy.deepcopy(dict(self.params))",
        "self.params",
        "training/test_recipe.py::test_parameters_stay_what_they_are_whatever_the_model_does_with_them",
    ),
    # --- inputs
    Break(
        "the search feels the unit of a code",
        "suite/measuring/whitening.py",
        "scale = variances.clamp_min(FLOOR * variances.amax() if len(mean) else 0).sqrt()",
        "scale = torch.ones_like(variances)",
        "tasks/test_input_optimization.py::test_an_exact_pca_decoder_gains_nothing_whatever_the_units_of_its_code",
    ),
    Break(
        "whitened coordinates are turned as a code happens to be",
        "suite/measuring/whitening.py",
        "turn = torch.linalg.eigh(seen @ seen.T)[1].flip(1)",
        "turn = torch.eye(len(seen)).to(seen)",
        "measuring/test_whitening.py::test_an_affine_map_of_a_code_leaves_its_coordinates_as_they_are_up_to_their_signs",
    ),
    Break(
        "the last step counts and not the best",
        "suite/measuring/descent.py",
        "better = errors < rows.least",
        "better = errors < torch.inf",
        "tasks/test_input_optimization.py::test_what_counts_is_the_best_of_all_steps_and_starts",
    ),
    Break(
        "the search leaves the encoder's own code out",
        "suite/measuring/inputs.py",
        "torch.stack([torch.zeros_like(u), u], 1)",
        "torch.stack([torch.zeros_like(u), 0 * u], 1)",
        "tasks/test_input_optimization.py::test_both_the_training_mean_and_the_encoders_code_are_starts",
    ),
    Break(
        "a discrete group keeps the image's own value",
        "suite/measuring/inputs.py",
        "value = own if given_discrete and holds_integers(group) else",
        "value = own if holds_integers(group) else",
        "tasks/test_input_optimization.py::test_a_copier_beside_an_idle_number_gains_nothing",
    ),
    Break(
        "the digits of a number are inputs of their own",
        "suite/measuring/whitening.py",
        "    return u + BLUR * (u.abs()",
        "    return u + 0.0 * (u.abs()",
        "tasks/test_input_optimization.py::test_a_copy_in_the_digits_of_real_numbers_gains_nothing",
    ),
    Break(
        "the digits of a number far from training codes are inputs of their own",
        "suite/measuring/whitening.py",
        "    u = u.clamp(-FAR, FAR)\n    return u + BLUR * (u.abs() / NEAR).clamp_min(1.0) * normal(",
        "    return u + BLUR * normal(",
        "tasks/test_input_optimization.py::test_numbers_that_are_small_on_training_images_alone_are_no_more_precise",
    ),
    Break(
        "a category that is tried out is free",
        "tasks/input_optimization.py",
        "references = [fit_linear(train.flatten(1), dims + len(tries))]\n    if tries:",
        "references = [fit_linear(train.flatten(1), dims)]\n    if not references:",
        "tasks/test_input_optimization.py::test_prototypes_gain_nothing_over_as_many_centroids",
    ),
    # --- the price
    Break(
        "a Gaussian's nats are off by a fiftieth",
        "suite/measuring/priors.py",
        "return 0.5 * (self.logdet - 2 * sd.log()",
        "return 0.51 * (self.logdet - 2 * sd.log()",
        "measuring/test_golden.py",
    ),
    # --- trials
    Break(
        "a trial scores what it trained, not what it sealed",
        "suite/running/preparation.py",
        "    return _loaded(folder, recipe, trial.cells[0])\n",
        "    return baseline, note\n",
        "running/test_trial.py::test_what_is_scored_is_a_model_that_never_trained",
    ),
    Break(
        "what is kept outside the checkpoint passes",
        "suite/measuring/sealing.py",
        "    if changed:\n        raise",
        "    if False:\n        raise",
        "measuring/test_sealing.py::test_a_model_that_keeps_something_elsewhere_is_named_and_not_sealed",
    ),
    Break(
        "a lazy layer is trained",
        "suite/training/checkpoints.py",
        "if any(is_lazy(tensor) for",
        "if False and any(is_lazy(tensor) for",
        "running/test_trial.py::test_what_a_checkpoint_cannot_hold_is_told_before_training",
    ),
    Break(
        "counts are priced by densities",
        "suite/measuring/pricing.py",
        "if _is_counts(q) != _is_counts(prior):",
        "if False:",
        "measuring/test_pricing.py::test_counts_and_densities_do_not_price_each_other",
    ),
    Break(
        "prices are computed in the model's precision",
        "suite/measuring/pricing.py",
        "parameters = {name: getattr(p, name).double() for",
        "parameters = {name: getattr(p, name) for",
        "measuring/test_pricing.py::test_a_divergence_keeps_its_digits_where_float32_loses_them",
    ),
    Break(
        "a prior prices a number as often as it likes",
        "suite/measuring/pricing.py",
        "or torch.broadcast_shapes(shape, z.shape) != z.shape:",
        "or not shape:",
        "measuring/test_pricing.py::test_a_prior_of_more_numbers_than_the_value_prices_none_of_them_twice",
    ),
    Break(
        "one class prices five",
        "suite/measuring/pricing.py",
        "if type(q) is D.Categorical and q.logits.shape[-1] != p.logits.shape[-1]:",
        "if False:",
        "measuring/test_pricing.py::test_a_prior_of_fewer_classes_does_not_price_the_rest",
    ),
    Break(
        "what is no number is a price",
        "suite/measuring/pricing.py",
        "if not bool((rate > -torch.inf).all()):",
        "if False:",
        "measuring/test_pricing.py::test_what_has_no_price_is_refused_and_what_is_impossible_costs_infinitely_much",
    ),
    Break(
        "a draw is priced after it was rounded",
        "suite/measuring/drawing.py",
        "return Sent(value.to(element(q).loc.dtype), deviation + dither, centre)",
        "return Sent(value.to(element(q).loc.dtype), value.float().double())",
        "measuring/test_pricing.py::test_noise_as_coarse_as_the_grid_of_float32_buys_nothing",
    ),
    Break(
        "the noise has a grid",
        "suite/measuring/drawing.py",
        "value = (centre + deviation) + dither",
        "value = centre + deviation",
        "measuring/test_drawing.py::test_the_last_digit_of_a_location_does_not_show_in_the_grid_of_the_noise",
    ),
    Break(
        "Gamma codes are allowed",
        "suite/measuring/families.py",
        '    D.Laplace: ("loc", "scale"),',
        '    D.Laplace: ("loc", "scale"),\n    D.Gamma: ("concentration", "rate"),',
        "measuring/test_pricing.py::test_a_family_whose_draws_clamp_or_whose_price_cancels_is_refused",
    ),
    Break(
        "only one Independent is unwrapped",
        "suite/measuring/families.py",
        "    while isinstance(q, D.Independent):",
        "    if isinstance(q, D.Independent):",
        "measuring/test_pricing.py::test_a_distribution_is_found_however_deep_it_is_wrapped",
    ),
    Break(
        "a code may pretend to be a narrow Normal",
        "suite/measuring/alarms.py",
        "NARROW = 0.01",
        "NARROW = 0.0",
        "measuring/test_alarms.py::test_a_code_in_the_guise_of_a_narrow_normal_is_told_to_be_handed_over_as_a_tensor",
    ),
    Break(
        "probabilities pass for logits",
        "suite/measuring/alarms.py",
        "return low >= 0 and high <= 1 and high - low > FLAT",
        "return False",
        "measuring/test_alarms.py::test_decoded_values_that_never_leave_zero_to_one_are_flagged",
    ),
    Break(
        "logits of any scale pass",
        "suite/measuring/alarms.py",
        "FAR = 2.0",
        "FAR = float('inf')",
        "measuring/test_alarms.py::test_logits_that_cost_more_than_none_until_they_are_calibrated_are_flagged",
    ),
    Break(
        "a record leaves out what was odd",
        "suite/running/trial.py",
        "flags=list(dict.fromkeys([*model.marks, *score.flags, *model.subject.flags])),",
        "flags=list(dict.fromkeys([*model.marks, *score.flags])),",
        "running/test_trial.py::"
        "test_what_was_odd_about_a_model_when_it_was_priced_stands_in_the_record_of_that_task_alone",
    ),
    Break(
        "an encoder may draw noise of its own",
        "suite/checking/integrity.py",
        "    no_noise_of_its_own,\n",
        "",
        "checking/test_integrity.py::test_a_check_that_says_nothing_after_another_failed_is_skipped",
    ),
    Break(
        "labels are looked for where nothing repeats",
        "suite/checking/integrity.py",
        '"blind to labels": "repeatable",',
        "",
        "checking/test_integrity.py::test_a_check_that_says_nothing_after_another_failed_is_skipped",
    ),
    Break(
        "check prints the floor as a score",
        "suite/checking/rehearsal.py",
        "AT_FLOOR = 0.5",
        "AT_FLOOR = -1.0",
        "checking/test_rehearsal.py::test_a_score_at_the_floor_is_not_told_as_a_number",
    ),
    Break(
        "what only the published noise gains is no alarm",
        "suite/checking/rehearsal.py",
        "max(a, b) <= 0",
        "min(a, b) <= 0",
        "checking/test_rehearsal.py::test_only_a_net_that_is_a_loss_both_times_may_differ_under_a_secret",
    ),
    Break(
        "nats below 0 pass as a loss",
        "suite/checking/rehearsal.py",
        'metric.direction == "higher" and max(a, b) <= 0',
        "max(a, b) <= 0",
        "checking/test_rehearsal.py::test_only_a_net_that_is_a_loss_both_times_may_differ_under_a_secret",
    ),
    Break(
        "a code's prior is a little wider",
        "suite/measuring/noise.py",
        "JITTER = 0.01",
        "JITTER = 0.02",
        "measuring/test_golden.py",
    ),
    Break(
        "steps are counted and not scaled up",
        "suite/training/counting.py",
        "return self._steps / self._sample.steps if self._sample.steps else 0.0",
        "return 1.0",
        "training/test_counting.py::test_steps_are_counted_from_a_sample_and_scaled_up",
    ),
    Break(
        "gradients beyond the budget go unseen",
        "suite/running/effort.py",
        "(times := max(gradients, whole)) > MARGIN",
        "(times := whole) > MARGIN",
        "running/test_effort.py::test_a_loop_of_ones_own_in_fit_is_marked",
    ),
    Break(
        "equal parameters of other seeds go unseen",
        "suite/running/effort.py",
        'other.get("weights") == note["weights"]',
        'other.get("weights") is None',
        "running/test_effort.py::test_equal_parameters_of_several_seeds_are_marked_where_there_is_a_loss",
    ),
    Break(
        "another set's files pass",
        "suite/data/genuine.py",
        "    if owner not in (None, known_as):",
        "    if owner == known_as:",
        "data/test_genuine.py::test_another_sets_files_are_named",
    ),
    # --- ranks
    Break(
        "ranks compare images as if every model had its own",
        "suite/boards/ranking.py",
        "means[i] = values.mean(axis=0)",
        "pass",
        "boards/test_per_image.py::test_ranks_come_from_paired_differences_where_values_are_kept",
    ),
    Break(
        "every pair is tested on its own",
        "suite/boards/stepdown.py",
        "    return float(np.sort(peaks)[::-1][max(allowed, 0)])",
        "    return float(np.sort(peaks)[::-1][max(allowed, 0)]) / 2",
        "boards/test_simulation.py::test_equal_models_are_rarely_separated",
    ),
    Break(
        "a place is won by a thousandth of a nat",
        "suite/boards/stepdown.py",
        "self.statistic[tied | (np.abs(gap) < evidence.resolution)] = 0.0",
        "self.statistic[tied] = 0.0",
        "boards/test_ranking.py::test_differences_below_the_resolution_of_the_column_are_ties",
    ),
    Break(
        "a lead that is not certain counts",
        "suite/boards/order.py",
        "best[None] - worst[:, None])",
        "best[None] - best[:, None])",
        "boards/test_order.py::test_a_model_is_not_above_one_that_only_others_beat",
    ),
    Break(
        "models with weights of their own are ranked",
        "suite/boards/ranking.py",
        "if apart or part[0].preliminary:",
        "if part[0].preliminary:",
        "boards/test_ranking.py::test_weights_or_training_of_ones_own_are_shown_in_a_class_of_their_own_and_not_ranked",
    ),
)


def noticed(broken: Break) -> bool:
    """Whether the test of a property fails once it is broken.

    Raises:
        ValueError: If the line to break is not there exactly once, or the broken code crashes before it is judged.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in FOLDERS:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        path = copy / broken.file
        text = path.read_text()
        if text.count(broken.old) != 1:
            raise ValueError(f"{broken.name}: {text.count(broken.old)} lines of {broken.file} to break, not one")
        path.write_text(text.replace(broken.old, broken.new))
        test = f"tests/{broken.test}"
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "", "-p", "no:cacheprovider", test]
        done = subprocess.run(
            command, cwd=copy, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": folder}, check=False
        )
    if done.returncode == 0:
        return False
    if done.returncode == 1 and (REFUTED.search(done.stdout) or (broken.guard and broken.guard in done.stdout)):
        return True
    raise ValueError(f"{broken.name}: {broken.test} crashed: {done.stdout[-500:]}{done.stderr[-500:]}")


def main() -> int:
    """Tries all breaks; 1 if a test missed one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="breaks whose name holds one of these; all by default")
    words = parser.parse_args().words
    chosen = [b for b in BREAKS if not words or any(word in b.name for word in words)]
    if not chosen:
        parser.error(f"no break's name holds {' or '.join(words)}")
    missed = 0
    for broken in chosen:
        try:
            seen = noticed(broken)
        except ValueError as error:
            sys.stdout.write(f"CRASHED  {error}\n")
            missed += 1
            continue
        missed += not seen
        sys.stdout.write(f"{'noticed' if seen else 'MISSED '}  {broken.name}  ({broken.test.split('::')[-1]})\n")
        sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - missed} of {len(chosen)} breaks noticed\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
