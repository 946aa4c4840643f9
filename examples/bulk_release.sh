#!/bin/sh
# Release one sender's held mail every night, and take up what an earlier night left undone.
#
#   bulk_release.sh SENDER FOLDER
#
# SENDER is an address or a domain; reports go to FOLDER. MIMEPORTAL_URL and MIMEPORTAL_USER say whose mail it is.
set -eu
sender=$1
folder=$2
report="$folder/released-$(date +%Y-%m-%d).jsonl"

# Exit 3 says that some messages failed; the report names them, and the next run tries again.
status=0
for earlier in "$folder"/released-*.jsonl.todo; do
    [ -e "$earlier" ] || continue
    mimeportal -q holds release --retry-from "${earlier%.todo}" --report "${earlier%.todo}" --append --yes >/dev/null ||
        status=$?
done
mimeportal -q holds release --from "$sender" --yes --report "$report" --append >/dev/null || status=$?
exit "$status"
