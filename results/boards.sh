#!/usr/bin/env bash
# Makes every board.md of this folder, and comparisons.md, from the records beside them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

board() { # folder, metrics in place of the ranked ones...
    local metrics=("${@:2}")
    suite board "$1" "${metrics[@]/#/--metric=}" --format markdown >"$1/board.md"
}

board mnist
board digits
board inverted psnr_encoder psnr psnr_pca psnr_random 'arm/*' 'steps_to_95/*' nats_bound nats_bound_untrained variance_explained
board colored separation 'follows_core/*' 'error_core/*' 'error_others/*' 'error_intact/*' 'chance/*' nats 'rate/*'
mnist/comparisons.sh >mnist/comparisons.md
