#!/usr/bin/env bash
# The questions of docs/models.md, answered from the published records and nothing else:
#     results/mnist/comparisons.sh > results/mnist/comparisons.md
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

compare() {
    suite compare "$@" --workspace . --format markdown | sed -n '/^|/p'
    printf '\n'
}

metrics() { # task, models with commas, metrics...
    local task=$1 models=(${2//,/ }) names=("${@:3}")
    suite board . --task "$task" "${models[@]/#/--baseline=}" "${names[@]/#/--metric=}" --format markdown |
        awk '/What the models cost/ {exit} /^\|/ {print; table = 1; next} table {print ""; table = 0}'
    printf '\n'
}

cat <<'TEXT'
# What the MNIST board says

Made by `results/mnist/comparisons.sh` from the records beside it. Differences are first minus second, with a 95 % interval over
seeds (independent) and test images (paired where per-image values are kept). A share is a ratio of means over images: its
images are paired by a linearization (`shares.py`). Returns are one number a seed, so that their intervals rest on the seeds
alone. Where there is one seed, an interval is over test images alone.

## Can skip connections be made to leave work to the deeper layers?

TEXT
for model in filtered laplacian haar variational; do
    compare "${model}_skip_autoencoder" unet_autoencoder --metric nats --metric core_nats
done
python shares.py {filtered,laplacian,haar,variational}_skip_autoencoder unet_autoencoder

compare variational_skip_autoencoder vae --metric nats

printf 'The same net with its skips priced two and four times in training:\n\n'
for times in 2x 4x; do
    compare "variational_skip_autoencoder_$times" variational_skip_autoencoder --metric nats --metric core_nats
done
python shares.py variational_skip_autoencoder_{2x,4x} variational_skip_autoencoder

compare laplacian_skip_autoencoder autoencoder --metric nats
compare haar_skip_autoencoder autoencoder --metric nats

printf '## Do pooling switches split what from where?\n\n'
metrics latent_ablation swwae,swwae_pool4,swwae_pool7,swwae_pool14 'rate/*' 'return/*'
metrics reconstruction swwae,swwae_pool4,swwae_pool7,swwae_pool14 nats nats_unmuted 'rate/*'

for model in swwae swwae_pool4 swwae_pool7 swwae_pool14; do
    compare "$model" swwae_no_where --metric nats
done

printf 'The same net trained as a classifier, then as a code:\n\n'
compare swwae_supervised swwae --metric nats --metric accuracy_64

printf '## Can shape and appearance be told apart?\n\n'
metrics latent_ablation vunet,vunet_bag,vunet_canny 'rate/*' 'return/*'
for model in vunet_bag vunet_canny; do
    compare "$model" vunet --metric nats --metric accuracy_64
done
compare vunet vae --metric nats

printf '## Does a class code shared by many images pay for itself?\n\n'
for model in vhe vhe_kmeans vhe_random acn; do
    compare "$model" vae
done
compare vhe_kmeans vhe_random --metric nats
compare vhe vhe_kmeans --metric nats

printf '## Does a code that survives noise mean anything on real images?\n\n'
for model in vae random_encoder; do
    compare inverted_autoencoder "$model" --metric accuracy --metric accuracy_64 --metric psnr_encoder --metric psnr --metric nats
done

printf 'With a message of 256 numbers in place of 64, and with the layers of the source:\n\n'
for model in inverted_m256 inverted_source; do
    compare "$model" inverted_autoencoder --metric accuracy --metric accuracy_64 --metric psnr_encoder --metric psnr --metric nats
done
