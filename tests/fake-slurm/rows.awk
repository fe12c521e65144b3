# Prints jobs from jobs/ID.{job,start,end}: one line each, the columns named in `columns`, joined by `|`.
# -v columns="%i %u ..." (squeue) or "JobID User ..." (sacct), user, forget (1: finished jobs are not known), keys (name or id list), now
BEGIN {
  FS = "\t"
  wanted = split(columns, column, " ")
  count = split(keys, list, ",")
  for (i = 1; i <= count; i++) key[list[i]] = 1
}
FILENAME ~ /\.job$/ { owner[$1] = $2; submit[$1] = $3; name[$1] = $4; order[++jobs] = $1 }
FILENAME ~ /\.start$/ { started[$1] = $3 }
FILENAME ~ /\.end$/ { state[$1] = $2; code[$1] = $3; sig[$1] = $4; ended[$1] = $5 }
FILENAME ~ /\.cancel$/ { cancelled[FILENAME] = 1 }
END {
  for (i = 1; i <= jobs; i++) {
    id = order[i]
    if (user != "" && owner[id] != user) continue
    if (count > 0 && !(id in key) && !(name[id] in key)) continue
    if (forget && id in state) continue
    word = id in state ? state[id] : id in started ? "RUNNING" : "PENDING"
    if (shown != "" && !(id in state)) word = shown
    if (word == "CANCELLED" && !squeue) word = "CANCELLED by " uid
    until = id in ended ? ended[id] : now
    seconds = id in started ? until - started[id] : 0
    line = ""
    for (c = 1; c <= wanted; c++) line = line (c > 1 ? "|" : "") value(column[c], id, word, seconds)
    print line
  }
}
function value(what, id, word, seconds) {
  if (what == "%i" || what == "JobID") return id
  if (what == "%u" || what == "User") return owner[id]
  if (what == "%T" || what == "State") return word
  if (what == "%V" || what == "Submit") return submit[id]
  if (what == "%M") return sprintf("%d:%02d", seconds / 60, seconds % 60)
  if (what == "Elapsed") return sprintf("%02d:%02d:%02d", seconds / 3600, seconds % 3600 / 60, seconds % 60)
  if (what == "%N") return id in started ? "fake-node" : ""
  if (what == "NodeList") return id in started ? "fake-node" : "None assigned"
  if (what == "%r" && because != "" && word == shown) return because
  if (what == "%r") return word == "FAILED" ? "NonZeroExitCode" : word == "PENDING" ? "Priority" : "None"
  if (what == "Reason") return "None"
  if (what == "ExitCode") return (code[id] + 0) ":" (sig[id] + 0)
  if (what == "%j" || what == "JobName") return name[id]
  return "?" what
}
