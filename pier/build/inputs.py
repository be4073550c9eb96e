"""What of an instruction decides whether it must be done again, by names that people know."""

import json

from pier.build.instructions import Arg, Instruction
from pier.build.run import HOSTNAME
from pier.build.state import StageState
from pier.build.steps import RunStep


def written(instruction: Instruction) -> str:
    """The line, however it was indented and continued."""
    return " ".join(instruction.source.split())


def said_inputs(instruction: Instruction, after: StageState, told: str) -> dict[str, str]:
    """What the variables of an instruction about the image came to."""
    if not isinstance(instruction, Arg):
        return {"value": told}
    names = {argument.name for argument in instruction.arguments} & after.arguments.keys()
    return {f"arg {name}": after.arguments[name] for name in names}


def run_inputs(step: RunStep, hostname: str) -> dict[str, str]:
    inputs = {f"arg {name}": value for name, value in step.arguments.items()}
    for name, value in step.environment.items():
        if name not in step.hidden and name not in step.arguments:
            inputs[f"env {name}"] = value
    inputs.update(user=step.user, workdir=step.working_dir, command=json.dumps(step.argv))
    if step.network != "default":
        inputs["flag --network"] = step.network
    if step.security != "sandbox":
        inputs["flag --security"] = step.security
    if step.script:
        inputs["script"] = step.script
    if hostname != HOSTNAME:
        inputs["hostname"] = hostname
    return inputs
