"""The checks of one build: what its Dockerfile, arguments and base images are found to be."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pier.build.bases import Bases
from pier.build.checks import CheckOptions, Finding, parse_check
from pier.build.ignore import IgnoreRules
from pier.build.lint import lint
from pier.build.lint_stages import Surroundings, lint_stages
from pier.build.parser import Dockerfile
from pier.build.plan import Plan, PlanInputs, Program, Stage
from pier.oci.image import RunConfig
from pier.threads import blocking

_ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
_LONG = 300
_TOO_LONG = 1500
"""Its stages are not gone through: each step of it looks at all variables set so far."""
_MAX_FINDINGS = 200


def check_options(dockerfile: Dockerfile, arguments: Mapping[str, str]) -> CheckOptions:
    """The directive's, unless a build argument says otherwise; raise BadCheck."""
    return parse_check(arguments.get(_ARGUMENT) or dockerfile.directives.get("check", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Checker:
    """`image_of`: the reference of a stage's base, "" when that is no image."""

    dockerfile: Dockerfile
    program: Program
    plan: Plan
    inputs: PlanInputs
    ignored: IgnoreRules
    options: CheckOptions
    bases: Bases
    image_of: Callable[[Stage], str]

    async def of_known(self) -> list[Finding]:
        """With the base images that are here."""
        found = {
            stage.index: run
            for stage in self.plan.stages
            if (name := self.image_of(stage)) and (run := self.bases.find_run_config(name))
        }
        return await self._found(found)

    async def of_all(self) -> list[Finding]:
        """Asks registries for the configs of base images that are not here."""
        found: dict[int, RunConfig] = {}
        for stage in self.plan.stages:
            name = self.image_of(stage)
            run = await self.bases.ask_run_config(name, stage.platform) if name else None
            if run is not None:
                found[stage.index] = run
        return await self._found(found)

    async def _found(self, bases: Mapping[int, RunConfig]) -> list[Finding]:
        """A long Dockerfile is not gone through on the loop."""
        if len(self.dockerfile.nodes) < _LONG:
            return self._findings(bases)
        return await blocking(self._findings, bases)

    def _findings(self, bases: Mapping[int, RunConfig]) -> list[Finding]:
        around = Surroundings(bases=bases, ignored=self.ignored, given=self.inputs.build_arguments)
        findings = [
            *lint(self.dockerfile, self.program, self.inputs),
            *(lint_stages(self.plan, around) if len(self.dockerfile.nodes) < _TOO_LONG else ()),
        ]
        wanted = [finding for finding in findings if self.options.wants(finding.rule)]
        return sorted(wanted, key=lambda finding: finding.line)[:_MAX_FINDINGS]
