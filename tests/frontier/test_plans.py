"""The plans: their recipes, and the dense control of each net."""

from dataclasses import replace

from model_compression.frontier import plans
from model_compression.frontier.plans import PLANS, Plan
from model_compression.nets.training import TrainConfig
from model_compression.techniques.rate_distortion import RateConfig
from model_compression.techniques.shrinkage import ShrinkConfig


def test_recipe_carries_every_field_of_its_plan() -> None:
    plan = Plan(net="small_d4", price=0.2, first=3, tuned=5, levels=7, first_nonzero=40, l1=1e-6, orders=9)
    first, tuned = plan.recipe.steps
    train = TrainConfig(epochs=3, learning_rate=3e-3, warmup=0.05, augment=1.0)
    assert (first.train, first.technique, first.teacher) == (train, ShrinkConfig(l1=1e-6), None)
    assert tuned.train == replace(train, epochs=5)
    assert tuned.technique == RateConfig(price=0.2, levels=7, first_nonzero=40)
    assert plan.recipe.export.orders == 9


def test_taught_plan_has_the_same_teacher_in_both_trainings() -> None:
    first, tuned = Plan(net="small_d4", price=0.2, temperature=2).recipe.steps
    assert first.teacher == tuned.teacher
    assert first.teacher is not None
    assert (first.teacher.net, first.teacher.distill.temperature) == ("small_32p_64p_128p", 2)


def test_control_is_trained_and_taught_alike_without_any_technique() -> None:
    for plan in PLANS:
        assert all(step.technique is None for step in plan.control.steps)
        alike = [(step.train, step.teacher) for step in plan.control.steps]
        assert alike == [(step.train, step.teacher) for step in plan.recipe.steps]
        assert plan.control.is_control


def test_every_plan_has_the_dense_control_that_is_trained_alike() -> None:
    points = list(plans.points().values())
    assert all(plan.recipe in points and plan.control in points for plan in PLANS)


def test_points_of_a_net_are_its_own() -> None:
    assert {recipe.net for recipe in plans.points("lenet_5").values()} == {"lenet_5"}
    assert len(plans.points("lenet_5")) == 5


def test_points_of_a_variant_are_its_plan_and_its_dense_control() -> None:
    assert set(plans.points("small_16s_24p_24p", "long")) == {
        f"small_16s_24p_24p-{name}-long" for name in ("price-0.14", "price-0.25", "dense")
    }


def test_names_of_plans_do_not_repeat() -> None:
    names = [plan.recipe.name for plan in PLANS]
    assert len(set(names)) == len(names)
    assert {"baseline", "lenet_300_100", "lenet_5"} <= {plan.net for plan in PLANS}
