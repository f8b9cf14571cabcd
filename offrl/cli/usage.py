"""What `offrl --help` and `offrl completion` print."""

from __future__ import annotations

JOBS = {
    "train": "learn a policy, offline, online, or offline and then online",
    "collect": "record episodes of a policy as a dataset",
    "resume": "go on with the runs of a sweep that stopped",
    "evaluate": "measure the policy of a run folder",
    "compare": "runs beside each other: tables, figures, a report",
    "ope": "what a policy is worth, judged from a log alone",
    "export": "a policy as one file that acts without this program",
    "dataset": "list, show, check or import datasets",
}

HELP = f"""\
offrl: experiments in reinforcement learning, offline and online.

  offrl JOB [key=value ...]      run a job; every key of its config can be changed
  offrl JOB --help               its options, with examples
  offrl JOB --cfg job [...]      print the config, run nothing
  offrl JOB -m key=a,b [...]     run every combination
  offrl --version

Jobs:
{chr(10).join(f"  {name:<10} {what}" for name, what in JOBS.items())}

Examples:
  offrl train algo=ppo env=cartpole
  offrl train algo=sac env=Pendulum-v1 seed=3
  offrl collect env=pointmaze_umaze actor=scripted noise=0.3 to=pointmaze/umaze-v0
  offrl train algo=iql dataset=pointmaze/umaze
  offrl train -m algo=bc,iql dataset=pointmaze/umaze seed=0,1,2
  offrl train algo=dqn env=cartpole seeds=8
  offrl train run=runs/train/FOLDER resume=true
  offrl evaluate run=runs/train/FOLDER
  offrl export run=runs/train/FOLDER
  offrl dataset check my_log.csv

Flags:
  --config-dir DIR   your own configs (DIR/algo/*.yaml, DIR/env/*.yaml, ...) beside the built-in ones; Python modules
                     in DIR, in the folder that holds DIR, and in the current folder can be named in `_target_`
  --debug            show a full traceback for any error (so does HYDRA_FULL_ERROR=1)

Tab completion in bash: eval "$(offrl completion)"
"""

COMPLETION = """\
# eval "$(offrl completion)" makes bash complete jobs, groups, options and keys.
_offrl_complete() {
    local line="${COMP_LINE:0:$COMP_POINT}" cur job rest
    local -a words=($line)
    [[ "$line" == *" " ]] && words+=("")
    cur="${words[-1]}"
    if (( ${#words[@]} <= 2 )); then
        COMPREPLY=($(compgen -W "JOBS" -- "$cur"))
        compopt +o nospace
        return
    fi
    job="${words[1]}"
    rest="offrl ${line#*"$job"}"
    COMPREPLY=($(compgen -o nospace -o default -W \\
        "$(COMP_POINT=${#rest} COMP_LINE="$rest" offrl "$job" -sc query=bash 2>/dev/null)" -- "$cur"))
}
COMP_WORDBREAKS=${COMP_WORDBREAKS//=}
complete -o nospace -o default -F _offrl_complete offrl
""".replace("JOBS", " ".join(JOBS))
