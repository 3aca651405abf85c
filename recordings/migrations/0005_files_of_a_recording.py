"""A recording has many files: each composition is told by its name, no more by its quality alone."""

from django.db import migrations, models
from django.db.models import F, Value
from django.db.models.functions import Concat


def name_the_films(apps, schema_editor):
    compositions = apps.get_model("recordings", "Composition").objects
    compositions.update(name=Concat(F("quality"), Value(".mp4")), content_type="video/mp4")


class Migration(migrations.Migration):
    dependencies = [("recordings", "0004_segments_done_and_left")]

    operations = [
        migrations.RemoveConstraint(model_name="composition", name="one_composition_a_quality"),
        migrations.AddField(
            model_name="composition", name="name", field=models.CharField(default="", max_length=60), preserve_default=False
        ),
        migrations.AddField(
            model_name="composition",
            name="content_type",
            field=models.CharField(default="", max_length=60),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name="composition", name="quality", field=models.CharField(blank=True, max_length=10)
        ),
        migrations.RunPython(name_the_films, migrations.RunPython.noop),
        migrations.AlterModelOptions(name="composition", options={"ordering": ["recording", "name"]}),
        migrations.AddConstraint(
            model_name="composition",
            constraint=models.UniqueConstraint(fields=("recording", "name"), name="one_composition_a_name"),
        ),
    ]
